"""Calibrate the sex of faces: `python -m tuner.judging.fitting.faces FOLDER`.

FOLDER has real pictures of adults and `labels.csv` with at least the columns file, kind (photo,
generated), sex (female, male, unclear) and repo, the picture's source. Writes
metrics/calibration/gender.json: coefficients from all faces that are labelled female or male, both
sexes weighing the same, and how often the answer is right where the picture's source was left out
of the fit. Also counts the faces that look under age, which are false alarms on adults.
Needs scikit-learn (`pip install 'tuner[dev]'`).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import metrics
from metrics.contract import JudgeSettings, Prompt, Sample, Score
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.intervals import wilson
from metrics.judges import adult, gender
from metrics.logistic import CALIBRATION, Logistic, from_coefficients, read_logistic
from metrics.version import judge_version
from tuner.judging.score_folder import judged_pixels
from tuner.storage.files import write_text
from tuner.terminal import tracked

SEXES = ("male", "female")
KINDS = {"photo": ("photo",), "generated": ("generated",), "both": ("photo", "generated")}
COLUMNS = ("file", "kind", "sex", "repo")
C = 1.0
"""Inverse strength of the ridge penalty: with one measurement and some hundred faces no matter."""
LOOKS_YOUNG = 25.0
"""Years below which an apparent age counts as young in the count of false alarms."""


@dataclass(frozen=True)
class Row:
    """One picture: its labels, the main face's log odds, and the score of the judge `adult`.

    `face` is None where no face is read.
    """

    labels: dict[str, str]
    face: float | None
    adult: Score


def read_labels(folder: Path) -> list[dict[str, str]]:
    """Return the rows of labels.csv. Raises SystemExit for a folder without such a table."""
    try:
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            rows = list(table)
    except OSError as error:
        raise SystemExit(f"{folder} has no labels.csv that can be read: {error}") from None
    if missing:
        raise SystemExit(f"labels.csv has no column {', '.join(missing)}")
    return rows


def measured(folder: Path, labels: Sequence[dict[str, str]], judges: Detectors) -> list[Row]:
    """Return the labelled pictures of a folder with what their faces measure."""
    rows = []
    for label in tracked(labels, len(labels), "faces read"):
        path = folder / label["file"]
        sample = Sample(Prompt("a person"), 0, judged_pixels(path), path)
        evidence = Evidence(sample, judges)
        face = evidence.face
        large = face is not None and face.side >= gender.LEAST_SIDE
        odds = evidence.female_log_odds(face) if face is not None and large else None
        rows.append(Row(label, odds, adult.photographic(sample, evidence)))
    return rows


def fitted(rows: Sequence[Row]) -> dict[str, Any]:
    """Fit a logistic regression; return its coefficients as `metrics.logistic` reads them."""
    from sklearn.linear_model import LogisticRegression

    values = np.array([row.face for row in rows], np.float64)
    truths = np.array([SEXES.index(row.labels["sex"]) for row in rows])
    middle, spread = float(values.mean()), max(float(values.std()), 1e-3)
    model = LogisticRegression(C=C, class_weight="balanced")
    model.fit((values[:, None] - middle) / spread, truths)
    weight, bias = float(model.coef_[0, 0]), float(model.intercept_[0])
    return {
        "classes": list(SEXES),
        "features": [gender.FACE],
        "middles": [round(middle, 5)],
        "spreads": [round(spread, 5)],
        "weights": [[0.0], [round(weight, 5)]],
        "biases": [0.0, round(bias, 5)],
    }


def held_out(rows: Sequence[Row]) -> list[float]:
    """Return each row's probability of a woman by the fit on the other sources."""
    models = {
        source: from_coefficients(fitted([row for row in rows if row.labels["repo"] != source]))
        for source in {row.labels["repo"] for row in rows}
    }
    return [_female(models[row.labels["repo"]], row) for row in rows]


def accuracy(rows: Sequence[Row]) -> dict[str, str]:
    """Return by kind how many labelled pictures are judged, and how many of those rightly.

    Each by the fit on the other sources, with the margin of the judge.
    """
    read = [row for row in rows if row.face is not None]
    judged = [
        (row.labels["kind"], (female > 0.5) == (row.labels["sex"] == "female"))
        for row, female in zip(read, held_out(read), strict=True)
        if abs(2 * female - 1) >= gender.FACE_MARGIN
    ]
    lines = {}
    for name, kinds in KINDS.items():
        right = [fine for kind, fine in judged if kind in kinds]
        every = sum(row.labels["kind"] in kinds for row in rows)
        lines[name] = f"judged {_share(len(right), every)}; right {_share(sum(right), len(right))}"
    return lines


def false_alarms(rows: Sequence[Row]) -> dict[str, str]:
    """Return how many pictures of adults are said to show a face under age."""
    read = [row for row in rows if row.adult.value is not None]
    groups = {name: [row for row in read if row.labels["kind"] in KINDS[name]] for name in KINDS}
    groups[f"of those that look younger than {LOOKS_YOUNG:.0f}"] = [
        row for row in read if float(str(row.adult.evidence["years"])) < LOOKS_YOUNG
    ]
    return {
        name: _share(sum(adult.looks_under_age(row.adult) for row in group), len(group))
        for name, group in groups.items()
    }


def write(rows: Sequence[Row], file: Path) -> dict[str, Any]:
    """Write the calibration fitted on the rows labelled female or male; return all of it."""
    labelled = [row for row in rows if row.labels["sex"] in SEXES]
    whole = {
        "judge": gender.NAME,
        "made_by": "python -m tuner.judging.fitting.faces FOLDER",
        "pictures": sum(row.face is not None for row in labelled),
        "sources": len({row.labels["repo"] for row in labelled}),
        "sex_held_out": accuracy(labelled),
        "under_age_false_alarms": false_alarms(rows),
        "coefficients": fitted([row for row in labelled if row.face is not None]),
    }
    write_text(file, _page(whole))
    # The version depends on these coefficients, so it is computed after they are written.
    read_logistic.cache_clear()
    if file.parent == CALIBRATION:
        whole["version"] = judge_version(gender.JUDGE, "photographic")
        write_text(file, _page(whole))
    return whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, fit and write with the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=CALIBRATION / "gender.json")
    options = parser.parse_args(arguments)
    labels = read_labels(options.folder)
    with metrics.open_detectors(JudgeSettings(gender_model=None)) as judges:
        if judges.faces is None:
            raise SystemExit("nothing fitted: the face networks cannot be had")
        rows = measured(options.folder, labels, judges)
    print(_page(write(rows, options.out)), file=sys.stdout, end="")


def _female(model: Logistic, row: Row) -> float:
    assert row.face is not None
    return model({gender.FACE: row.face})["female"]


def _share(hits: int, count: int) -> str:
    """Return `3 of 40, 7.5 % [2.6, 19.9]`, with Wilson's interval."""
    if not count:
        return "none"
    low, high = (100 * bound for bound in wilson(hits, count))
    return f"{hits} of {count}, {100 * hits / count:.1f} % [{low:.1f}, {high:.1f}]"


def _page(whole: dict[str, Any]) -> str:
    return json.dumps(whole, indent=1) + "\n"


if __name__ == "__main__":
    main()
