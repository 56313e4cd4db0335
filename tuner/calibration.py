"""How far the judges are known: kept selfchecks, and whether one stands behind a score.

A selfcheck holds for one version of a judge with its models, for pictures of one base, near the
size that was measured. What no selfcheck holds for is marked wherever it is shown.
"""

from __future__ import annotations

import errno
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from metrics.contract import Objective, ScoredSample
from metrics.objectives import JUDGED_BY
from tuner import home, mannequin
from tuner.errors import ConfigError
from tuner.rows import StudyRow
from tuner.store import Store
from tuner.study_folder import StudyFolder, write_text

MARK = "*"
ABOUT = f"{MARK} uncalibrated: no selfcheck of this judge, version and model on such pictures"

MIN_SOUND = 10
"""Sound pictures that a selfcheck has to judge: of 10 without a false alarm the rate may still be
0.28 (Wilson)."""
NEAR = 1.5
"""A picture's shorter side may be this many times smaller or larger than what was measured."""

_FORMAT = 1


@dataclass(frozen=True)
class Cut:
    """The value below which calling a fault would have told faulty from sound pictures best.

    Best is the largest `found - false_alarms` (Youden 1950). A suggestion: nothing uses it.
    """

    below: float
    found: float
    false_alarms: float


@dataclass(frozen=True)
class Calibration:
    """What one selfcheck found of one judge, and what it holds for.

    `models` are the judge's own, by their setting. `base` drew the pictures, None where they came
    from anywhere; `group` is what they were measured under, `sides` are the least and the largest
    of their shorter sides in pixels. `found` and `false_alarms` have 95 % intervals (Wilson).
    `data` is the digest of the pictures, `about` what they were, `measured` the time (UTC),
    `libraries` the versions that saw them.
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
    asked: int
    about: str
    data: str
    measured: str
    libraries: Mapping[str, str]

    @property
    def key(self) -> tuple[object, ...]:
        """What it holds for: a later selfcheck of the same takes its place."""
        models = tuple(sorted(self.models.items()))
        return self.judge, self.version, models, self.base, self.group, self.sides


@dataclass(frozen=True)
class Trust:
    """The selfchecks that are known, and what drew and judged the pictures in question.

    `base` is None for pictures from anywhere; `models` are all of the judges' models by setting.
    """

    known: tuple[Calibration, ...] = ()
    base: str | None = None
    models: Mapping[str, str | None] = field(default_factory=dict)

    def calibrated(self, judge: str, version: str | None, side: int) -> bool:
        """Whether a selfcheck stands behind this judge on pictures of this shorter side."""
        return any(
            (one.judge, one.version, one.base) == (judge, version, self.base)
            and all(self.models.get(name) == model for name, model in one.models.items())
            and one.false_alarms.n >= MIN_SOUND
            and one.sides[0] / NEAR <= side <= one.sides[1] * NEAR
            for one in self.known
        )

    def unknown_judges(self, one: ScoredSample) -> list[str]:
        """The judges that gave this picture a value without a selfcheck behind them."""
        side = min(one.sample.image.shape[:2])
        return [
            name
            for name, score in one.scores.items()
            if score.value is not None and not self.calibrated(name, score.version, side)
        ]


def unknown_numbers(judges: Iterable[str]) -> frozenset[str]:
    """The objectives and rates that one of these judges has a part in."""
    unknown = set(judges)
    return frozenset(name for name, behind in JUDGED_BY.items() if unknown & set(behind))


def study_marks(folder: StudyFolder) -> frozenset[str]:
    """The objectives and rates of a study that are uncalibrated: one of their judges is."""
    with Store(folder.results_db, read_only=True) as store:
        study, versions = store.study(), store.judge_versions()
    if study is None:
        return frozenset()
    trust = study_trust(folder, study)
    return unknown_numbers(
        judge for judge, version in versions if not trust.calibrated(judge, version, study.side)
    )


def study_trust(folder: StudyFolder, study: StudyRow) -> Trust:
    """What is known of a study's judges: its own selfchecks, the user's, and those shipped."""
    return Trust(known_calibrations(folder), study.base, study.models)


def marked(name: str, marks: frozenset[str]) -> str:
    """The name with its mark, where it has one."""
    return f"{name} {MARK}" if name in marks else name


def home_file() -> Path:
    """Where selfchecks are kept that belong to no study."""
    return home.cache_folder() / "calibration.json"


def known_calibrations(folder: StudyFolder | None = None) -> tuple[Calibration, ...]:
    """The selfchecks that come with the tool, those in TUNER_HOME and those of the study.

    A file that cannot be used is told in a warning and left out: what was measured elsewhere
    still has to be shown.
    """
    files = [mannequin.CALIBRATION, home_file()] + ([folder.calibration] if folder else [])
    found: list[Calibration] = []
    for file in files:
        try:
            found += read_calibrations(file)
        except ConfigError as error:
            warnings.warn(str(error), stacklevel=2)
    return tuple(found)


def read_calibrations(file: Path) -> list[Calibration]:
    """The selfchecks that a file keeps, none where it is not there.

    Raises ConfigError for a file that `keep_calibrations` did not write.
    """
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
        if whole["format"] != _FORMAT:
            raise ValueError(f"format {whole['format']}, not {_FORMAT}")
        return [_read(one) for one in whole["calibrations"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{file} keeps no selfchecks ({' '.join(str(error).split())}); delete it and run "
            "tuner selfcheck again"
        ) from error


def keep_calibrations(new: Sequence[Calibration], file: Path) -> None:
    """Write selfchecks to a file, beside those it has, in place of older ones of the same.

    Raises ConfigError for a file that is something else or cannot be written.
    """
    keys = {one.key for one in new}
    kept = [one for one in read_calibrations(file) if one.key not in keys]
    whole = {"format": _FORMAT, "calibrations": [asdict(one) for one in [*kept, *new]]}
    try:
        write_text(file, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ConfigError(f"{file} cannot be written: {error.strerror or error}") from error


def _read(row: dict[str, Any]) -> Calibration:
    low, high = row["sides"]
    one = Calibration(**row)
    return replace(
        one,
        sides=(int(low), int(high)),
        found=Objective(**row["found"]),
        false_alarms=Objective(**row["false_alarms"]),
        cut=Cut(**row["cut"]) if row["cut"] else None,
    )
