"""What a selfcheck is for, and what of its measures is kept so that scores can be held to it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metrics.contract import JudgeSettings
from metrics.judges import JUDGES
from metrics.version import judge_version
from tuner import calibration
from tuner.calibration import MIN_SOUND, Calibration, keep_calibrations, read_calibrations
from tuner.config import MANNEQUIN
from tuner.errors import ConfigError
from tuner.judge_models import model_names
from tuner.mannequin.labelled import GROUPS
from tuner.selfcheck import Measure
from tuner.space import load_study
from tuner.store import utc_now
from tuner.study_folder import StudyFolder
from tuner.truths import Truths

_FIGURES = 256
"""The side of rendered figures, in pixels, where neither the user nor a study says another."""

_LIBRARIES = (
    *("mediapipe", "nudenet", "onnxruntime", "open_clip_torch"),
    *("ultralytics", "opencv-contrib-python", "numpy"),
)


@dataclass(frozen=True)
class Aim:
    """Whose pictures a selfcheck measures, with which models, and the file that keeps it.

    `base` is None for pictures from anywhere, `size` the side of rendered figures in pixels.
    """

    base: str | None
    size: int
    gender_model: str | None
    person_model: str | None
    file: Path


def aim(rendered: bool, study: StudyFolder | None, models: tuple[str | None, str | None]) -> Aim:
    """What a selfcheck on rendered figures, or on the user's pictures, is for.

    With a study it is for that study: its base, its sizes, and its models where `models` (gender,
    person) names none. Raises ConfigError for figures that its base does not draw, and for a file
    that keeps something else.
    """
    gender, person = models
    base, size, file = MANNEQUIN if rendered else None, _FIGURES, calibration.home_file()
    if study:
        config = load_study(study.study_yaml)
        if rendered and config.base != MANNEQUIN:
            raise ConfigError(
                f"study {study.name} has the base {config.base}, of which rendered figures tell "
                "nothing; give pictures with --data or --labels"
            )
        base, size, file = config.base, min(config.suite.image_size), study.calibration
        gender = gender or config.judges.gender_model_for(base)
        person = person or config.judges.person_model_for(base)
    read_calibrations(file)
    return Aim(base, size, gender, person, file)


def calibrations(
    measured: Sequence[Measure], truths: Truths, base: str | None, settings: JudgeSettings
) -> list[Calibration]:
    """What is kept of the measures: of rendered figures, those in the style that the base draws."""
    names = model_names(settings)
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    judges = {judge.name: judge for judge in JUDGES}
    now = utc_now()
    return [
        Calibration(
            judge=one.judge,
            version=judge_version(judges[one.judge]),
            models={name: names[name] for name in judges[one.judge].models},
            base=base,
            group=one.group,
            sides=one.sides,
            auc=one.auc,
            found=one.found,
            false_alarms=one.false_alarms,
            cut=one.cut,
            abstained=one.abstained,
            asked=one.asked,
            about=truths.lines[0],
            data=one.data,
            measured=now,
            libraries=libraries,
        )
        for one in measured
        if not truths.rendered or one.group == GROUPS["first"]
    ]


def keep(found: Sequence[Calibration], file: Path) -> list[str]:
    """Write what was found to its file; returns what to tell of that."""
    keep_calibrations(found, file)
    lines = [f"kept in {file}"]
    if few := [one.judge for one in found if one.false_alarms.n < MIN_SOUND]:
        lines.append(
            f"fewer than {MIN_SOUND} sound pictures were judged by {', '.join(few)}: their scores "
            "stay marked as uncalibrated"
        )
    return lines
