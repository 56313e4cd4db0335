"""Saved selfchecks of the judges, and the test whether one of them covers a score.

A selfcheck holds for one version of a judge with its models, for pictures of one base, near the
size that was measured. A number that no selfcheck covers is marked wherever it is shown.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from metrics.contract import Objective, ScoredSample
from metrics.objectives import JUDGED_BY
from tuner.errors import ConfigError
from tuner.storage import Store, StudyFolder, shipped
from tuner.storage.files import FULL, read_text, write_text
from tuner.storage.rows import StudyRow

MARK = "*"
ABOUT = f"{MARK} uncalibrated: no selfcheck of this judge, version and model on such pictures"

MIN_SOUND = 10
"""Least number of sound pictures of a selfcheck: even with no false alarm in 10, the rate may be as
high as 0.28 (Wilson)."""
NEAR = 1.5
"""A picture's shorter side may be this many times smaller or larger than the measured ones."""

_FORMAT = 2


@dataclass(frozen=True)
class Cut:
    """The threshold that best separates faulty from sound pictures; a value below it means a fault.

    It has the largest `found - false_alarms` (Youden 1950). It is a suggestion: no code uses it.
    """

    below: float
    found: float
    false_alarms: float


@dataclass(frozen=True)
class Calibration:
    """Result of one selfcheck of one judge, with the conditions under which it holds.

    `models` are the judge's own, by their setting. `base` drew the pictures, None if their origin
    is unknown; `group` names them, `sides` are the least and the largest of their shorter sides in
    pixels. `found` (share of faults found) and `false_alarms` have 95 % intervals (Wilson).
    `pictures` counts the judged, `abstained` those without a value. `data` is the digest of the
    pictures, `about` describes them, `measured` is the time (UTC), `libraries` the versions used.
    """

    judge: str
    version: str
    models: Mapping[str, str | None]
    base: str | None
    group: str
    sides: tuple[int, int]
    auc: float | None
    found: Objective
    false_alarms: Objective
    cut: Cut | None
    abstained: int
    pictures: int
    about: str
    data: str
    measured: str
    libraries: Mapping[str, str]

    @property
    def key(self) -> tuple[object, ...]:
        """Identity of this selfcheck: a newer one with the same key replaces it."""
        models = tuple(sorted(self.models.items()))
        return self.judge, self.version, models, self.base, self.group, self.sides


@dataclass(frozen=True)
class Trust:
    """The known selfchecks, with the base and the judges' models of the pictures in question.

    `base` is None for pictures of unknown origin; `models` are all judges' models by setting.
    """

    known: tuple[Calibration, ...] = ()
    base: str | None = None
    models: Mapping[str, str | None] = field(default_factory=dict)

    def calibrated(self, judge: str, version: str | None, side: int) -> bool:
        """Return True if a selfcheck covers this judge on pictures of this shorter side (px)."""
        return any(
            (check.judge, check.version, check.base) == (judge, version, self.base)
            and all(self.models.get(name) == model for name, model in check.models.items())
            and check.false_alarms.n >= MIN_SOUND
            and check.sides[0] / NEAR <= side <= check.sides[1] * NEAR
            for check in self.known
        )

    def uncalibrated_judges(self, scored: ScoredSample) -> list[str]:
        """Return the judges that gave this picture a value and that no selfcheck covers."""
        side = min(scored.sample.image.shape[:2])
        return [
            name
            for name, score in scored.scores.items()
            if score.value is not None and not self.calibrated(name, score.version, side)
        ]


def uncalibrated_numbers(judges: Iterable[str]) -> frozenset[str]:
    """Return the objectives and rates that one of these uncalibrated judges contributes to."""
    uncalibrated = set(judges)
    return frozenset(name for name, used in JUDGED_BY.items() if uncalibrated & set(used))


def study_marks(folder: StudyFolder) -> frozenset[str]:
    """Return the objectives and rates of a study that use an uncalibrated judge."""
    with Store(folder.results_db, read_only=True) as store:
        study, versions = store.study(), store.judge_versions()
    if study is None:
        return frozenset()
    trust = study_trust(folder, study)
    return uncalibrated_numbers(
        judge for judge, version in versions if not trust.calibrated(judge, version, study.side)
    )


def study_trust(folder: StudyFolder, study: StudyRow) -> Trust:
    """Return the selfchecks that apply to a study: its own, the user's and the shipped ones."""
    return Trust(known_calibrations(folder), study.base, study.models)


def marked(name: str, marks: frozenset[str]) -> str:
    """Return the name, with the mark if it is in `marks`."""
    return f"{name} {MARK}" if name in marks else name


def home_file() -> Path:
    """Return the file of the selfchecks that belong to no study."""
    return shipped.cache_folder() / "calibration.json"


def known_calibrations(folder: StudyFolder | None = None) -> tuple[Calibration, ...]:
    """Return the shipped selfchecks, those in TUNER_HOME and those of the study.

    A file that cannot be used causes a warning and is skipped, so that a report can still be made.
    """
    files = [shipped.CALIBRATION, home_file()] + ([folder.calibration] if folder else [])
    calibrations: list[Calibration] = []
    for file in files:
        try:
            calibrations += read_calibrations(file)
        except ConfigError as error:
            warnings.warn(str(error), stacklevel=2)
    return tuple(calibrations)


def read_calibrations(file: Path) -> list[Calibration]:
    """Read the selfchecks of a file; a missing file has none.

    Raises ConfigError for a file that `write_calibrations` did not write.
    """
    try:
        whole = json.loads(read_text(file))
        if whole["format"] != _FORMAT:
            raise ValueError(f"format {whole['format']}, not {_FORMAT}")
        return [_read(row) for row in whole["calibrations"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{file} holds no selfchecks ({' '.join(str(error).split())}); delete it and run "
            "tuner selfcheck again"
        ) from error


def write_calibrations(new: Sequence[Calibration], file: Path) -> None:
    """Add selfchecks to a file, replacing older ones with the same key.

    Raises ConfigError for a file that holds something else or cannot be written.
    """
    keys = {check.key for check in new}
    kept = [check for check in read_calibrations(file) if check.key not in keys]
    whole = {"format": _FORMAT, "calibrations": [asdict(check) for check in [*kept, *new]]}
    try:
        write_text(file, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        if error.errno in FULL:
            raise
        raise ConfigError(f"{file} cannot be written: {error.strerror or error}") from error


def _read(row: dict[str, Any]) -> Calibration:
    low, high = row["sides"]
    return replace(
        Calibration(**row),
        sides=(int(low), int(high)),
        found=Objective(**row["found"]),
        false_alarms=Objective(**row["false_alarms"]),
        cut=Cut(**row["cut"]) if row["cut"] else None,
    )
