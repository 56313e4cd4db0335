"""Fit the judges of the body on rendered figures: `python -m tuner.judging.fitting.drawn_judges`.

Writes metrics/calibration/pose.json and limbs.json anew, from a seed. Figures are drawn at the
mannequin's size and at 256 px, some soft, some passed through the mannequin's autoencoder, some
without clothes; each sound one is followed by one with a wrong limb and by an unreadable one. The
second drawing style is never fitted on: like every other factor it is held out, to measure how the
judges do on unknown pictures. Needs scikit-learn (`pip install 'tuner[dev]'`).
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from metrics.contract import Image, JudgeSettings, Prompt, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence, Judge
from metrics.judges import limbs, pose
from metrics.logistic import CALIBRATION, Logistic, from_coefficients, read_logistic
from metrics.version import judge_version
from tuner.judging.fitting.regression import fit_logistic, write_calibration
from tuner.judging.selfcheck import area_under_curve
from tuner.mannequin import draw
from tuner.mannequin.building.build import redraw
from tuner.mannequin.figure import Figure, Limbs, Style, random_figure
from tuner.mannequin.unreadable import KINDS, unreadable
from tuner.models import load_base

FIGURES: Mapping[Style, int] = {"first": 630, "second": 105}
SEED = 40_000
"""Seed of the figures, far from those of the selfcheck and of the tests."""
LOOKS = ((64, "plain"), (64, "redrawn"), (256, "plain"), (64, "redrawn"), (64, "plain"))
"""Size and look of the figures in turn; redrawn: passed through the mannequin's autoencoder."""
UNREADABLE = (0.75, 1.0)
"""Strengths at which a pose counts as unreadable."""
LIMB_FAULTS: Mapping[Limbs, str] = {
    "extra arm": "extra limb",
    "missing arm": "missing arm",
    "extra leg": "extra leg",
    "missing leg": "missing leg",
}
LIMB_CLASSES = (limbs.SOUND, *limbs.ARM_FAULTS, *limbs.LEG_FAULTS)
POSE_CLASSES = ("unreadable", pose.READABLE)
FACTORS = ("arm_pose", "top", "ground", "framing", "look", "style")


@dataclass(frozen=True)
class Row:
    """Measurements of one picture and its true classes; "": not usable to fit that judge."""

    factors: Mapping[str, str]
    limbs: str
    readable: str
    shows_legs: bool
    posed: Mapping[str, float]
    limbed: Mapping[str, float]


@dataclass(frozen=True)
class Judged:
    """A judge to be fitted: its classes, the sound class, and its columns of a row."""

    name: str
    judge: Judge
    classes: tuple[str, ...]
    sound: str
    truth: Callable[[Row], str]
    measured: Callable[[Row], Mapping[str, float]]

    def value(self, model: Logistic, row: Row) -> float:
        """Return the judge's score of a row's picture, 0 to 1."""
        legs = limbs.LEG_FAULTS if not row.shows_legs else ()
        classes = [name for name in self.classes if name not in legs]
        return model(self.measured(row), classes)[self.sound]


JUDGED = (
    Judged(
        "pose", pose.JUDGE, POSE_CLASSES, pose.READABLE,
        lambda row: row.readable, lambda row: row.posed,
    ),
    Judged(
        "limbs", limbs.JUDGE, LIMB_CLASSES, limbs.SOUND,
        lambda row: row.limbs, lambda row: row.limbed,
    ),
)  # fmt: skip


def figures(seed: int, counts: Mapping[Style, int]) -> list[Figure]:
    """Draw the sound figures: each third one has no clothes, each third group of twelve is soft."""
    drawn = []
    for style, count in counts.items():
        rng = np.random.default_rng([seed, len(style)])
        for index in range(count):
            soft = float(rng.uniform(0.0, 0.008)) if index // 12 % 3 == 2 else 0.0
            clothed = index % 3 != 2
            drawn.append(replace(random_figure(rng, style=style), clothed=clothed, blur=soft))
    return drawn


def pictures(figure: Figure, index: int, size: int) -> Iterator[tuple[str, str, Image]]:
    """Yield a figure as (limbs, readable, picture): sound, with a wrong limb, unreadable."""
    yield limbs.SOUND, pose.READABLE, draw(figure, size)
    fault = tuple(LIMB_FAULTS)[index % len(LIMB_FAULTS)]
    framing = "full" if "leg" in fault else figure.framing
    faulty = replace(figure, limbs=fault, framing=framing)
    yield LIMB_FAULTS[fault], pose.READABLE, draw(faulty, size)
    turn = index // 3  # every third figure is undressed: three figures share a turn
    kind = tuple(KINDS)[turn % len(KINDS)]
    strength = UNREADABLE[turn // len(KINDS) % len(UNREADABLE)]
    yield "", POSE_CLASSES[0], unreadable(figure, size, kind, strength)


def measured(share: Sequence[tuple[int, Figure]]) -> list[Row]:
    """Measure some numbered figures; return a row for each picture in which a pose is found."""
    cv2.setNumThreads(1)
    rows: list[Row] = []
    detectors = Detectors(JudgeSettings(domain="drawn"))
    vae = load_base("mannequin").pipeline.vae
    try:
        for index, figure in share:
            size, look = LOOKS[index % len(LOOKS)]
            for wrong, readable, image in pictures(figure, index, size):
                if look == "redrawn":
                    image = redraw(vae, image[None])[0]
                row = _measure(figure, f"{size} {look}", (wrong, readable, image), detectors)
                rows += [] if row is None else [row]
    finally:
        detectors.close()
    return rows


def _measure(
    figure: Figure, look: str, shown: tuple[str, str, Image], detectors: Detectors
) -> Row | None:
    wrong, readable, image = shown
    evidence = Evidence(Sample(Prompt("a person"), 0, image), detectors)
    body, posed = evidence.body, evidence.posture
    if body is None or posed is None:
        return None
    limbed, _ = limbs.limb_evidence(body, posed)
    factors = {"top": figure.top if figure.clothed else "none", "look": look}
    factors |= {name: str(getattr(figure, name)) for name in FACTORS if name not in factors}
    # A frame without legs cannot show their faults; only the arms' faults are judged there.
    hidden = wrong in limbs.LEG_FAULTS and not body.shows_legs
    return Row(factors, "" if hidden else wrong, readable, body.shows_legs, posed, limbed)


def fitted(judge: Judged, rows: Sequence[Row]) -> dict[str, Any]:
    """Fit a judge's logistic regression; return its coefficients."""
    measured_rows = [judge.measured(row) for row in rows]
    truths = [judge.truth(row) for row in rows]
    return fit_logistic(measured_rows, truths, judge.classes, judge.sound)


def held_out(judge: Judged, rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Measure how well each value of a factor is judged by a fit on the other values.

    Means over the values: AUC, share of sound pictures below one half, share of faults below it.
    Within the first style, except for the factor style.
    """
    first = [row for row in rows if row.factors["style"] == "first"]
    scores = {}
    for factor in FACTORS:
        among = rows if factor == "style" else first
        rows_of_scores = []
        for value in sorted({row.factors[factor] for row in among}):
            if (factor, value) == ("style", "first"):
                continue
            own = [row for row in among if row.factors[factor] == value]
            rest = [row for row in first if row.factors[factor] != value]
            rows_of_scores.append(_scores(judge, own, from_coefficients(fitted(judge, rest))))
        names = ("auc", "false_alarms", "found")
        scores[factor] = {
            name: round(float(np.nanmean(column)), 3)
            for name, column in zip(names, zip(*rows_of_scores, strict=True), strict=True)
        }
    return scores


def _scores(judge: Judged, rows: Sequence[Row], model: Logistic) -> tuple[float, float, float]:
    values = np.array([judge.value(model, row) for row in rows])
    sound = np.array([judge.truth(row) == judge.sound for row in rows])
    area = area_under_curve(values[~sound].tolist(), values[sound].tolist())
    return (
        float("nan") if area is None else area,
        float((values[sound] < 0.5).mean()),
        float((values[~sound] < 0.5).mean()),
    )


def write(rows: Sequence[Row], seed: int, folder: Path = CALIBRATION) -> None:
    """Fit each judge on the first style; write its coefficients and its held-out scores."""
    for judge in JUDGED:
        usable = [row for row in rows if judge.truth(row)]
        first = [row for row in usable if row.factors["style"] == "first"]
        whole = {
            "judge": judge.name,
            "made_by": f"python -m tuner.judging.fitting.drawn_judges --seed {seed}",
            "pictures": len(first),
            "held_out": held_out(judge, usable),
            "coefficients": fitted(judge, first),
        }
        file = folder / f"{judge.name}.json"
        write_calibration(file, whole)
        # The version depends on these coefficients, so it is computed after they are written.
        read_logistic.cache_clear()
        version = judge_version(judge.judge, "drawn") if folder == CALIBRATION else ""
        write_calibration(file, {**whole, "version": version})


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, measure, fit and write with the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(arguments)
    numbered = list(enumerate(figures(options.seed, FIGURES)))
    shares = [numbered[start :: options.processes] for start in range(options.processes)]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        rows = [row for share in pool.map(measured, shares) for row in share]
    write(rows, options.seed)


if __name__ == "__main__":
    main()
