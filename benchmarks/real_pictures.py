"""Measure the judges on real pictures that were labelled by eye: false alarms, faults, abstentions.

    python benchmarks/real_pictures.py [FOLDER] [--gender-model MODEL] [--person-model MODEL]

FOLDER, by default TUNER_REAL_PICTURES, has a `labels.csv` with the columns of `COLUMNS`: the file,
its kind (`photo` or `generated`), what the frame shows, if the limbs are sound (yes, hidden,
missing, extra, unclear), if the pose can be read, the sex, if the figure is clothed (yes, bare),
the quality (sharp, blurred, artefact), if there are several people (yes, no) and the source.
Without a folder nothing is measured, and the reason is printed. Pictures are judged as `tuner
score` judges photographs, with a prompt for the labelled sex. A sound picture is one on which no
label names a fault. A judge raises an alarm where its score is below its threshold, which is set,
as for a study, by the sound pictures of all other sources. With --painted, wrong limbs and spoilt
figures are painted into the sound pictures and judged too, which takes six times as long. Scores
are kept in a file beside the result, by the judges' versions and the picture's content; a stopped
run goes on. The table goes to benchmarks/results/real_pictures.md; it names no picture.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from real_tables import Judged, Labels, is_sound, page, with_thresholds

import metrics
from metrics.contract import Image, JudgeSettings, Prompt, Sample, Sex
from metrics.detectors import Detectors
from metrics.scoring import JUDGES
from metrics.version import judge_version
from tuner.judging.models import judge_settings
from tuner.judging.painting.body import read_picture_body
from tuner.judging.painting.limbs import painted_limbs
from tuner.judging.painting.unreadable import unreadable_figures
from tuner.judging.score_folder import judged_pixels
from tuner.storage.files import write_text
from tuner.terminal import tracked

RESULT = Path(__file__).parent / "results" / "real_pictures.md"
COLUMNS = (
    *("file", "kind", "framing", "limbs", "readable"),
    *("sex", "clothed", "quality", "several", "repo"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", help="default: TUNER_REAL_PICTURES")
    parser.add_argument("--gender-model", help="as in tuner score; default: by the face alone")
    parser.add_argument("--person-model", help="as in tuner score; default: persons not counted")
    parser.add_argument("--painted", action="store_true", help="judge painted faults too")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    folder = options.folder or os.environ.get("TUNER_REAL_PICTURES")
    if not folder or not (Path(folder) / "labels.csv").is_file():
        where = folder or "no FOLDER given and TUNER_REAL_PICTURES not set"
        print(f"nothing measured: no labels.csv ({where})", file=sys.stderr)
        return
    rows = read_labels(Path(folder))
    settings = judge_settings(options.gender_model, options.person_model)
    kept = options.result.with_suffix(".jsonl")
    options.result.parent.mkdir(parents=True, exist_ok=True)
    judged = with_thresholds(list(judge_all(Path(folder), rows, settings, kept)))
    painted = []
    if options.painted:
        sound = [picture.labels for picture in judged if is_sound(picture)]
        painted = list(judge_painted(Path(folder), sound, settings, kept))
    text = page(judged, painted, settings)
    write_text(options.result, text)
    print(text)


def read_labels(folder: Path) -> list[Labels]:
    """Return the rows of labels.csv. Raises SystemExit for a table without these columns."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
            raise SystemExit(f"labels.csv has no column {', '.join(missing)}")
        return list(table)


def judge_all(
    folder: Path, rows: Sequence[Labels], settings: JudgeSettings, kept: Path
) -> Iterator[Judged]:
    """Yield each picture with its scores: from `kept`, or judged now and added to it."""
    known, digest = kept_lines(kept), judges_digest()
    with metrics.open_detectors(settings) as judges, kept.open("a", encoding="utf-8") as file:
        for row in tracked(rows, len(rows), "pictures judged"):
            path = folder / row["file"]
            key = _key(path, f"{row['sex']} {digest} {settings}")
            if key not in known:
                known[key] = {"key": key, **scores_of(judged_pixels(path), path, row, judges)}
                file.write(json.dumps(known[key]) + "\n")
                file.flush()
            line = known[key]
            yield Judged(row, line["scores"], line["framing"])


def kept_lines(kept: Path) -> dict[str, dict[str, Any]]:
    """Return the kept scores by key; none where there is no file."""
    if not kept.is_file():
        return {}
    lines = map(json.loads, kept.read_text(encoding="utf-8").splitlines())
    return {line["key"]: line for line in lines}


def _key(path: Path, how: str) -> str:
    return hashlib.sha256(path.read_bytes() + how.encode()).hexdigest()[:16]


def judge_painted(
    folder: Path, rows: Sequence[Labels], settings: JudgeSettings, kept: Path
) -> Iterator[Judged]:
    """Yield each fault painted into the sound pictures with its scores, kept like the others."""
    known, digest = kept_lines(kept), judges_digest()
    with metrics.open_detectors(settings) as judges, kept.open("a", encoding="utf-8") as file:
        for number, row in enumerate(tracked(rows, len(rows), "pictures painted")):
            path = folder / row["file"]
            key = _key(path, f"painted {number} {digest} {settings}")
            if key not in known:
                lines = [
                    {"fault": fault, **scores_of(image, path, row, judges)}
                    for fault, image in painted_pictures(judged_pixels(path), number, judges)
                ]
                known[key] = {"key": key, "painted": lines}
                file.write(json.dumps(known[key]) + "\n")
                file.flush()
            for line in known[key]["painted"]:
                yield Judged(row, line["scores"], line["framing"], fault=line["fault"])


def painted_pictures(image: Image, number: int, judges: Detectors) -> Iterator[tuple[str, Image]]:
    """Yield (fault, picture) for the faults of body that are painted into a sound picture."""
    body = read_picture_body(Sample(Prompt("a person"), 0, image), judges)
    if body is not None:
        yield from painted_limbs(body)
        yield from unreadable_figures(body, number)


def judges_digest() -> str:
    """Return a digest of the versions of the judges of photographs."""
    versions = " ".join(judge_version(judge, "photographic") for judge in JUDGES)
    return hashlib.sha256(versions.encode()).hexdigest()[:8]


def scores_of(image: Image, path: Path, row: Labels, judges: Detectors) -> dict[str, object]:
    """Return the scores of one picture by judge, and the class of its framing."""
    sexes: dict[str, Sex] = {"female": "female", "male": "male"}
    prompt = Prompt("a person", sexes.get(row["sex"], "female"))
    (scored,) = metrics.score([Sample(prompt, 0, image, path)], judges)
    values = {name: score.value for name, score in scored.scores.items()}
    if row["sex"] not in sexes:  # nobody can say what would be right
        values["gender"] = None
    return {"scores": values, "framing": scored.scores["framing_given"].evidence["class"]}


if __name__ == "__main__":
    main()
