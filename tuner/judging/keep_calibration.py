"""Settings of a selfcheck, and its results stored as calibrations."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from metrics.contract import Domain, JudgeSettings
from metrics.scoring import JUDGES, OPTIONAL_JUDGES
from metrics.version import judge_version
from tuner.errors import ConfigError
from tuner.judging import calibration
from tuner.judging.calibration import MIN_SOUND, Calibration, read_calibrations, write_calibrations
from tuner.judging.cases import SOUND
from tuner.judging.labelled_cases import LABELLED
from tuner.judging.models import model_names, optional_models
from tuner.judging.rendered_cases import GROUPS
from tuner.judging.selfcheck import CaseScore, JudgeReport
from tuner.judging.thresholds import home_thresholds, set_thresholds, write_thresholds
from tuner.judging.truth import Truths
from tuner.space.config import MANNEQUIN
from tuner.space.load import load_recorded
from tuner.storage import StudyFolder
from tuner.storage.columns import utc_now

_FIGURE_SIDE = 256
"""Default side of rendered figures, in pixels, without a study."""

_LIBRARIES = (
    *("mediapipe", "nudenet", "onnxruntime", "open_clip_torch"),
    *("ultralytics", "transformers", "opencv-contrib-python", "numpy"),
)


@dataclass(frozen=True)
class SelfcheckOptions:
    """Base, size and models of a selfcheck, and the file for its calibrations.

    `base` is None for pictures of unknown origin, `size` the side of rendered figures in pixels,
    `domain` the kind of the study's pictures, None without a study; `optional` has the models of
    the optional judges, by setting.
    """

    base: str | None
    size: int
    gender_model: str | None
    person_model: str | None
    file: Path
    domain: Domain | None = None
    optional: Mapping[str, str | None] = field(default_factory=dict)


def selfcheck_options(
    rendered: bool,
    study: StudyFolder | None,
    models: tuple[str | None, str | None],
    optional: Mapping[str, str | None] = MappingProxyType({}),
) -> SelfcheckOptions:
    """Return the options of a selfcheck on rendered figures or on the user's pictures.

    A study gives its base, its smallest size, and its models where `models` (gender, person) or
    `optional` has None. Raises ConfigError for rendered figures with another base than the
    mannequin, and for a file that does not hold calibrations.
    """
    gender, person = models
    base, size, file = MANNEQUIN if rendered else None, _FIGURE_SIDE, calibration.home_file()
    domain: Domain | None = None
    if study:
        config = load_recorded(study)
        if rendered and config.base != MANNEQUIN:
            raise ConfigError(
                f"study {study.name} has the base {config.base}, and rendered "
                "figures say nothing about it; give pictures with --data or --labels"
            )
        base, size, file = config.base, min(config.suite.image_size), study.calibration
        domain = config.judges.domain_for(base)
        gender = gender or config.judges.gender_model_for(base)
        person = person or config.judges.person_model_for(base)
        own = optional_models(config.judges)
        optional = {name: optional.get(name) or model for name, model in own.items()}
    read_calibrations(file)
    return SelfcheckOptions(base, size, gender, person, file, domain, optional)


def make_calibrations(
    reports: Sequence[JudgeReport], truths: Truths, base: str | None, settings: JudgeSettings
) -> list[Calibration]:
    """Return a calibration for each report; of rendered figures only for those of the first style.

    The mannequin draws in the first style, so reports on the second say nothing about its samples.
    """
    names = model_names(settings)
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    judges = {judge.name: judge for judge in (*JUDGES, *OPTIONAL_JUDGES)}
    now = utc_now()
    return [
        Calibration(
            judge=report.judge,
            version=judge_version(judges[report.judge], settings.domain),
            models={name: names[name] for name in judges[report.judge].models},
            base=base,
            group=report.group,
            sides=report.sides,
            auc=report.auc,
            found=report.found,
            false_alarms=report.false_alarms,
            cut=report.cut,
            abstained=report.abstained,
            pictures=report.pictures,
            about=truths.lines[0],
            data=report.data,
            measured=now,
            libraries=libraries,
        )
        for report in reports
        if not truths.rendered or report.group == GROUPS["first"]
    ]


def save_thresholds(scores: Sequence[CaseScore], truths: Truths) -> list[str]:
    """Set the thresholds of `tuner score` by the sound pictures, and return lines that report it.

    Nothing is set, and nothing returned, without pictures that are taken as sound.
    """
    if truths.photos is None:
        return []
    values: dict[int, dict[str, list[float | None]]] = {}
    for case in scores:
        if case.kind == SOUND and case.group != LABELLED:
            values.setdefault(case.source, {}).setdefault(case.judge, []).append(case.score.value)
    thresholds = set_thresholds(list(values.values()), str(truths.photos.root))
    write_thresholds(thresholds, home_thresholds())
    return [thresholds.line, f"used by tuner score from now on; {home_thresholds()} holds them"]


def save_calibration(calibrations: Sequence[Calibration], file: Path) -> list[str]:
    """Write the calibrations to the file, and return lines that report it to the user."""
    write_calibrations(calibrations, file)
    lines = [f"saved in {file}"]
    if few := [each.judge for each in calibrations if each.false_alarms.n < MIN_SOUND]:
        lines.append(
            f"{', '.join(few)} judged fewer than {MIN_SOUND} sound pictures: their scores "
            "stay marked as uncalibrated"
        )
    return lines
