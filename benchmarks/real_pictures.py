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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import metrics
from metrics.contract import Image, JudgeSettings, Prompt, Sample, Sex
from metrics.detectors import Detectors
from metrics.intervals import wilson
from metrics.scoring import JUDGES
from metrics.version import judge_version
from tuner.judging.models import judge_settings
from tuner.judging.painting.body import read_picture_body
from tuner.judging.painting.limbs import painted_limbs
from tuner.judging.painting.unreadable import unreadable_figures
from tuner.judging.score_folder import judged_pixels
from tuner.judging.selfcheck import area_under_curve
from tuner.judging.thresholds import SCALED, set_thresholds
from tuner.storage.files import write_text
from tuner.terminal import tracked

RESULT = Path(__file__).parent / "results" / "real_pictures.md"
COLUMNS = (
    *("file", "kind", "framing", "limbs", "readable"),
    *("sex", "clothed", "quality", "several", "repo"),
)
KINDS = {"photo": "photographs", "generated": "generated pictures"}
SOUND_LABELS = dict(limbs="yes", readable="yes", clothed="yes", quality="sharp", several="no")
FAULTS = (
    ("missing or extra limbs", "limbs", ("missing", "extra"), ("limbs",)),
    ("bare torsos", "clothed", ("bare",), ("cloth_share", "no_explicit_parts")),
    ("artefacts and blur", "quality", ("artefact", "blurred"), ("clean", "sharp")),
    ("several people", "several", ("yes",), ("one_person",)),
)
ALARMS = (
    *("pose_readable", "limbs", "one_person", "cloth_share"),
    *("no_explicit_parts", "sharp", "clean", "no_red_eyes"),
)
"""The judges that may raise an alarm without knowing what the prompt asks for."""

Labels = dict[str, str]


@dataclass(frozen=True)
class Judged:
    """A picture's labels and its scores by judge, None for an abstention; `framing` is the class
    that was read."""

    labels: Labels
    scores: dict[str, float | None]
    framing: str
    thresholds: dict[str, float] = field(default_factory=dict)
    fault: str = ""

    def alarms(self, judge: str) -> bool:
        """True if the judge's score is below its threshold."""
        value = self.scores[judge]
        return value is not None and value < self.thresholds.get(judge, 0.5)

    def abstains(self, judge: str) -> bool:
        """True if the judge gave no score."""
        return self.scores[judge] is None


@dataclass(frozen=True)
class Row:
    """A row of the table: the share of the pictures in `among` that pass the test."""

    title: str
    among: Callable[[Judged], bool]
    test: Callable[[Judged], bool]


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


def with_thresholds(judged: Sequence[Judged]) -> list[Judged]:
    """Return the pictures with the thresholds that the sound pictures of other sources set."""
    by_source: dict[str, dict[str, float]] = {}
    for source in {picture.labels["repo"] for picture in judged}:
        others = [p for p in judged if p.labels["repo"] != source and is_sound(p)]
        scores = [{name: [p.scores[name]] for name in SCALED} for p in others]
        thresholds = set_thresholds(scores, "other sources")
        by_source[source] = {each.judge: each.threshold for each in thresholds.judges}
    return [replace(p, thresholds=by_source[p.labels["repo"]]) for p in judged]


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


def share(pictures: Sequence[Judged], row: Row) -> str:
    """Return `3 of 40, 8 % [3, 20]`: how many pass the row's test, with Wilson's interval."""
    among = [picture for picture in pictures if row.among(picture)]
    n, hits = len(among), sum(map(row.test, among))
    if not n:
        return "none"
    low, high = (100 * bound for bound in wilson(hits, n))
    return f"{hits} of {n}, {100 * hits / n:.0f} % [{low:.0f}, {high:.0f}]"


def sound_rows() -> Iterator[Row]:
    """Yield the rows on sound pictures: alarms, which are false there, and abstentions."""
    yield Row("sound: any alarm", is_sound, lambda p: any(map(p.alarms, ALARMS)))
    for judge in ALARMS:
        yield Row(f"sound: `{judge}` alarms", is_sound, partial(Judged.alarms, judge=judge))
        yield Row(f"sound: `{judge}` abstains", is_sound, partial(Judged.abstains, judge=judge))


def label_rows() -> Iterator[Row]:
    """Yield the rows on labelled faults, on the sex and on the framing."""
    for title, column, values, judges in FAULTS:
        yield Row(
            f"{title} found by {' or '.join(f'`{judge}`' for judge in judges)}",
            partial(is_labelled, column=column, values=values),
            partial(any_alarm, judges=judges),
        )
    sexed = partial(is_labelled, column="sex", values=("female", "male"))
    yield Row("sex: not judged", sexed, lambda p: p.abstains("gender"))
    yield Row(
        "sex: right, of those judged",
        lambda p: sexed(p) and not p.abstains("gender"),
        lambda p: not p.alarms("gender"),
    )
    yield Row(
        "framing as labelled",
        lambda p: bool(p.labels["framing"]),
        lambda p: p.framing == p.labels["framing"],
    )


def is_sound(picture: Judged) -> bool:
    """Return True if no label names a fault."""
    return all(picture.labels[name] == fine for name, fine in SOUND_LABELS.items())


def is_labelled(picture: Judged, column: str, values: Sequence[str]) -> bool:
    """Return True if the label in `column` is one of `values`."""
    return picture.labels[column] in values


def any_alarm(picture: Judged, judges: Sequence[str]) -> bool:
    """Return True if one of `judges` raises an alarm."""
    return any(map(picture.alarms, judges))


def page(judged: Sequence[Judged], painted: Sequence[Judged], settings: JudgeSettings) -> str:
    """Return the tables as Markdown."""
    parts = [[p for p in judged if p.labels["kind"] == kind] for kind in KINDS]
    lines = [
        "# The judges on real pictures",
        "",
        f"`python benchmarks/real_pictures.py FOLDER`, {len(judged)} pictures with labels by eye; "
        f"gender by {settings.gender_model or 'the face alone'}, persons by "
        f"{settings.person_model}. Shares with Wilson's 95 % interval.",
        "",
        f"| | {' | '.join(KINDS.values())} |",
        "|---|---|---|",
    ]
    for row in (*sound_rows(), *label_rows()):
        lines.append(f"| {row.title} | {' | '.join(share(part, row) for part in parts)} |")
    lines.append(f"| `limbs`: area under the curve | {' | '.join(map(limbs_area, parts))} |")
    for kind in dict.fromkeys(picture.fault for picture in painted):
        own = [[p for p in painted if p.fault == kind and p.labels["kind"] == k] for k in KINDS]
        judge = "pose_readable" if kind.startswith("figure") else "limbs"
        areas = [area(judge, *sides) for sides in zip(own, parts, strict=True)]
        lines.append(f"| painted: {kind}, `{judge}` | {' | '.join(areas)} |")
    if painted:
        wrong = [p for p in painted if not p.fault.startswith("figure")]
        own = [[p for p in wrong if p.labels["kind"] == kind] for kind in KINDS]
        areas = [area("limbs", *sides) for sides in zip(own, parts, strict=True)]
        lines.append(f"| painted: all wrong limbs, `limbs` | {' | '.join(areas)} |")
    return "\n".join(lines) + "\n"


def limbs_area(pictures: Sequence[Judged]) -> str:
    """Return the area under the curve of `limbs`, and how many faults it was not judged on."""
    return area(
        "limbs", [p for p in pictures if p.labels["limbs"] in ("missing", "extra")], pictures
    )


def area(judge: str, faulty: Sequence[Judged], pictures: Sequence[Judged]) -> str:
    """Return the area under the curve of faulty against the sound ones of these pictures.

    An abstention says as much as a score of one half.
    """
    bad, good = (
        [0.5 if p.scores[judge] is None else float(p.scores[judge] or 0.0) for p in side]
        for side in (faulty, filter(is_sound, pictures))
    )
    value = area_under_curve(bad, good)
    if value is None:
        return "none"
    unknown = sum(p.scores[judge] is None for p in faulty)
    return f"{value:.2f}, {unknown} of {len(faulty)} faults not judged"


if __name__ == "__main__":
    main()
