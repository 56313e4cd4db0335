"""Fit the judges of photographed bodies: `python -m tuner.judging.fitting.photo_judges FOLDER`.

FOLDER holds real pictures and a labels.csv with the columns of benchmarks/real_pictures.py and
`repo`, the source of each picture. Sound pictures are measured as they are, with wrong limbs
painted in, and with the figure spoilt, all of it mirrored too; labelled faults are never fitted on.
Writes limb_consistency.json, photo_limbs.json and photo_pose.json into metrics/calibration, with
the accuracy on each source when the fit is made without it.
Needs scikit-learn (`pip install 'tuner[dev]'`).
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pictures

from metrics.contract import Image, JudgeSettings, Prompt, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.figure.body import shows_legs
from metrics.figure.limb_consistency import limb_consistency, limbs_shown
from metrics.figure.pose_consistency import pose_consistency
from metrics.figure.repainted_limbs import SOUND_LIMBS, repainted_limbs
from metrics.judges import photo_limbs, photo_pose
from metrics.logistic import CALIBRATION, from_coefficients
from tuner.judging.fitting.regression import SOUND_WEIGHT, fit_logistic, write_calibration
from tuner.judging.painting.body import read_picture_body
from tuner.judging.painting.limbs import painted_limbs
from tuner.judging.painting.unreadable import unreadable_figures
from tuner.judging.selfcheck import area_under_curve

SOUND_LABELS = dict(limbs="yes", readable="yes", clothed="yes", quality="sharp", several="no")
CLASS_OF_FAULT = {
    "arm added": "extra arm",
    "forearm added": "extra arm",
    "forearm removed": "missing forearm",
    "leg added": "extra leg",
    "lower leg removed": "missing lower leg",
}
WRONG_LIMBS = ("missing", "extra")
LABELLED = "labelled by eye"
"""The fault of pictures whose limbs are labelled as wrong: measured, never fitted on."""
LIMB_CLASSES = (photo_limbs.SOUND, *photo_limbs.ARM_FAULTS, *photo_limbs.LEG_FAULTS)
PENALTY = 0.4
"""Inverse strength of the ridge penalty: the measurements are few."""
POSE_SOUND_WEIGHT = 6.0
"""Weight of sound pictures for readable poses: spoilt figures are found easily, so that nearly no
false alarm has to be paid for them."""
POSE_CLASSES = ("unreadable", photo_pose.READABLE)


@dataclass(frozen=True)
class Row:
    """Measurements of a picture: its source, its fault ("" for none), whether legs show.

    Mirrored ones are fitted on, which halves the networks' noise, and not counted.

    `limbs` is measured without painting over, None where no limb is shown; `repainted` with it.
    """

    source: str
    fault: str
    mirrored: bool
    shows_legs: bool
    limbs: Mapping[str, float] | None
    repainted: Mapping[str, float]
    pose: Mapping[str, float]


def read_labels(folder: Path) -> list[dict[str, str]]:
    """Return the rows of labels.csv that are sound or have a wrong limb."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if is_sound(row) or row["limbs"] in WRONG_LIMBS]


def is_sound(row: Mapping[str, str]) -> bool:
    """Return True if no label of the row names a fault."""
    return all(row[key] == fine for key, fine in SOUND_LABELS.items())


def measure_all(folder: Path, numbered: Sequence[tuple[int, dict[str, str]]]) -> list[Row]:
    """Measure some numbered sound pictures, and the faults painted into them."""
    cv2.setNumThreads(1)
    detectors, rows = Detectors(JudgeSettings(gender_model=None)), []
    try:
        for number, label in numbered:
            image = np.asarray(Pictures.open(folder / label["file"]).convert("RGB"), np.uint8)
            turned: Image = np.asarray(cv2.flip(image, 1), np.uint8)
            for mirrored, view in enumerate((image, turned)):
                faults = _pictures(view, number, detectors) if is_sound(label) else ()
                for fault, picture in faults or [(LABELLED, view)]:
                    row = _measure(label["repo"], fault, bool(mirrored), picture, detectors)
                    rows += [] if row is None else [row]
    finally:
        detectors.close()
    return rows


def _pictures(image: Image, number: int, judges: Detectors) -> Iterator[tuple[str, Image]]:
    yield "", image
    body = read_picture_body(_sample(image), judges)
    if body is not None:
        yield from painted_limbs(body)
        yield from unreadable_figures(body, number)


def _sample(image: Image) -> Sample:
    return Sample(Prompt("a person"), 0, image)


def _measure(
    source: str, fault: str, mirrored: bool, image: Image, judges: Detectors
) -> Row | None:
    evidence = Evidence(_sample(image), judges)
    figure, look = evidence.figure, evidence.second_look
    if figure is None or look is None:
        return None
    limbs = limb_consistency(figure, look) if limbs_shown(figure) else None
    again = evidence.repainted(arms=True, legs=True) if limbs else {}
    repainted, pose = repainted_limbs(look, again), pose_consistency(figure, look)
    return Row(source, fault, mirrored, shows_legs(figure), limbs, repainted, pose)


@dataclass(frozen=True)
class Fitted:
    """A judge to be fitted: the classes, the sound one, and the rows' measurements and truths."""

    name: str
    classes: tuple[str, ...]
    sound: str
    rows: tuple[Row, ...]
    measured: tuple[Mapping[str, float], ...]
    truths: tuple[str, ...]
    sound_weight: float = SOUND_WEIGHT

    def fit(self, chosen: Sequence[bool]) -> dict[str, Any]:
        """Return the coefficients of a fit on the chosen rows whose class is known."""
        pairs = zip(self.truths, chosen, strict=True)
        chosen = [take and truth != LABELLED for truth, take in pairs]
        measured = [row for row, take in zip(self.measured, chosen, strict=True) if take]
        truths = [truth for truth, take in zip(self.truths, chosen, strict=True) if take]
        return fit_logistic(measured, truths, self.classes, self.sound, self.sound_weight, PENALTY)

    def likely(
        self,
        coefficients: dict[str, Any],
        measured: Sequence[Mapping[str, float]],
        chosen: Sequence[bool],
    ) -> list[dict[str, float]]:
        """Return the probabilities of the classes that each chosen row can show."""
        model, likely = from_coefficients(coefficients), []
        for row, values, take in zip(self.rows, measured, chosen, strict=True):
            if take:
                hidden = photo_limbs.LEG_FAULTS if not row.shows_legs else ()
                likely.append(model(values, [name for name in self.classes if name not in hidden]))
        return likely


def limbs_of(rows: Sequence[Row]) -> tuple[Fitted, Fitted]:
    """Return what the two steps of the judge of limbs are fitted on, the first look's first.

    These are sound pictures and wrong limbs.
    """
    usable = tuple(
        row for row in rows if row.fault in ("", LABELLED, *CLASS_OF_FAULT) and row.limbs
    )
    truths = tuple(CLASS_OF_FAULT.get(row.fault, row.fault or photo_limbs.SOUND) for row in usable)
    steps = {
        "limb_consistency": tuple(row.limbs or {} for row in usable),
        "photo_limbs": tuple({**(row.limbs or {}), **row.repainted} for row in usable),
    }
    first, last = (
        Fitted(name, LIMB_CLASSES, photo_limbs.SOUND, usable, measured, truths)
        for name, measured in steps.items()
    )
    return first, last


def pose_of(rows: Sequence[Row]) -> Fitted:
    """Return what the judge of readable poses is fitted on: sound pictures and spoilt figures."""
    usable = [row for row in rows if row.fault not in (LABELLED, *CLASS_OF_FAULT)]
    truths = tuple(POSE_CLASSES[not row.fault] for row in usable)
    measured = tuple(row.pose for row in usable)
    return Fitted(
        "photo_pose",
        POSE_CLASSES,
        photo_pose.READABLE,
        tuple(usable),
        measured,
        truths,
        POSE_SOUND_WEIGHT,
    )


def held_out(judge: Fitted, measured: Sequence[Mapping[str, float]]) -> dict[int, dict[str, float]]:
    """Return the probabilities of each row by number, from a fit on all other sources.

    `measured` is what each row is judged by; the fits are made on `judge.measured`.
    """
    likely: dict[int, dict[str, float]] = {}
    for source in sorted({row.source for row in judge.rows}):
        own = [row.source == source for row in judge.rows]
        answers = judge.likely(judge.fit([not each for each in own]), measured, own)
        places = [index for index, each in enumerate(own) if each]
        likely |= dict(zip(places, answers, strict=True))
    return likely


def held_out_limbs(first: Fitted, last: Fitted) -> dict[int, dict[str, float]]:
    """Return the same of the judge of limbs, which looks again only at limbs in doubt."""
    likely = held_out(first, first.measured)
    doubted = {number: photo_limbs.doubted_limbs(each) for number, each in likely.items()}
    measured = []
    for number, row in enumerate(last.rows):
        arms, legs = doubted[number]
        again = {"arm_replaced": arms, "arm_stays": arms, "leg_replaced": legs}
        values = {name: row.repainted[name] for name, is_doubted in again.items() if is_doubted}
        measured.append({**first.measured[number], **SOUND_LIMBS, **values})
    again_likely = held_out(last, measured)
    return {number: (again_likely if any(doubted[number]) else likely)[number] for number in likely}


def accuracy(judge: Fitted, likely: Mapping[int, Mapping[str, float]]) -> dict[str, Any]:
    """Return how well the probability of a sound row tells faulty rows from sound ones.

    `auc` of all painted faults and by fault, the labelled ones apart; the shares of sound pictures
    and of painted faults below one half.
    """
    values = {
        number: each[judge.sound]
        for number, each in likely.items()
        if not judge.rows[number].mirrored
    }
    sound = [value for number, value in values.items() if judge.truths[number] == judge.sound]
    faulty = {i: judge.rows[i].fault for i in values if judge.truths[i] != judge.sound}
    area = partial(area_under_curve, sound=sound)
    by_fault = {
        fault: round(area([values[i] for i, own in faulty.items() if own == fault]) or 0.0, 3)
        for fault in sorted(set(faulty.values()))
    }
    faulty = {i: fault for i, fault in faulty.items() if fault != LABELLED}
    return {
        "auc": round(area([values[i] for i in faulty]) or 0.0, 3),
        "auc_by_fault": by_fault,
        "false_alarms": round(float(np.mean([value < 0.5 for value in sound])), 3),
        "found": round(float(np.mean([values[i] < 0.5 for i in faulty])), 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, fit and write with the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(arguments)
    labels = read_labels(options.folder)
    numbered = list(enumerate(labels))
    shares = [numbered[start :: options.processes] for start in range(options.processes)]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        parts = pool.map(partial(measure_all, options.folder), shares)
    rows = [row for part in parts for row in part]
    origin = {
        "made_by": "python -m tuner.judging.fitting.photo_judges FOLDER",
        "sound_pictures": sum(map(is_sound, labels)),
        "sources": len({label["repo"] for label in labels}),
    }
    first, last = limbs_of(rows)
    pose = pose_of(rows)
    likely = {
        first.name: held_out(first, first.measured),
        last.name: held_out_limbs(first, last),
        pose.name: held_out(pose, pose.measured),
    }
    for judge in (first, last, pose):
        whole = {
            "judge": judge.name,
            **origin,
            "pictures": sum(not row.mirrored for row in judge.rows),
        }
        whole |= {"held_out": accuracy(judge, likely[judge.name])}
        whole |= {"coefficients": judge.fit([True] * len(judge.rows))}
        write_calibration(CALIBRATION / f"{judge.name}.json", whole)
        print(judge.name, whole["held_out"])


if __name__ == "__main__":
    main()
