"""Thresholds of the judges, set by sound pictures of the user's own: at most 5 % raise an alarm.

A judge's scale means little by itself: on one person's photographs every coat raises an alarm, on
another's none does. With conformal thresholds (Vovk et al. 2005; Angelopoulos and Bates 2021) an
alarm means: less sound than all but 5 % of your own pictures. They are only lowered from the pooled
ones, which the coefficients of the judges contain, so that easy pictures make no judge stricter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metrics.contract import Image, Objective, Prompt, Sample, Score
from metrics.intervals import wilson
from metrics.scoring import JUDGES
from metrics.version import judge_version
from tuner.errors import ConfigError
from tuner.storage import shipped
from tuner.storage.columns import utc_now
from tuner.storage.files import read_text, write_text

ALARMS = 0.05
"""Largest share of the sound pictures that may raise a judge's alarm."""
FEWEST = 20
"""Sound pictures below which no threshold is set: it would rest on one picture, and even without an
alarm among 19 the rate may be as high as 17 % (Wilson)."""
MOST = 200
"""Pictures that are judged; more change the thresholds little and take longer."""
FEW = 60
"""Pictures below which each is judged mirrored and cropped too, to steady the threshold."""

Values = Mapping[str, Sequence[float | None]]
"""A picture's scores by judge: of the picture itself, then of its other views."""

SCALED = ("pose_readable", "limbs", "cloth_share", "sharp", "clean")
"""The judges of faults that a sound picture of anybody lacks; all others keep their scale."""

_POOLED = 0.5
_LEAST = 1e-4
_CROP = 0.9
_FORMAT = 1


@dataclass(frozen=True)
class Threshold:
    """A judge's threshold: a score below it counts as a fault.

    `version` is the judge's. `alarms` is the share of the `pictures` below the threshold, with its
    95 % interval (Wilson); `pooled` is true where it is the judge's own.
    """

    judge: str
    version: str
    threshold: float
    pooled: bool
    alarms: Objective


@dataclass(frozen=True)
class Thresholds:
    """Thresholds set on pictures of one origin: their number, their folder, and the time (UTC)."""

    pictures: int
    origin: str
    measured: str
    judges: tuple[Threshold, ...] = ()

    def values(self) -> Mapping[str, float]:
        """Return the thresholds that are not pooled, for the judges of this version."""
        return {
            each.judge: each.threshold
            for each in self.judges
            if not each.pooled and _versions().get(each.judge) == each.version
        }

    @property
    def line(self) -> str:
        """The thresholds in one line for the user."""
        if self.pictures < FEWEST:
            return (
                f"thresholds: the judges' own, {self.origin} has {self.pictures} pictures and "
                f"{FEWEST} are needed to set them"
            )
        moved = [f"{each.judge} {each.threshold:.2f}" for each in self.judges if not each.pooled]
        return (
            f"thresholds: at most {ALARMS:.0%} of {self.pictures} pictures of {self.origin} raise "
            f"an alarm; lowered: {', '.join(moved) or 'none'}"
        )


def views(image: Image, count: int) -> Iterable[Image]:
    """Yield the picture, and where there are few (`count`) its mirror image and its middle too."""
    yield image
    if count < FEW:
        yield np.ascontiguousarray(image[:, ::-1])
        height, width = image.shape[:2]
        down, across = (round(side * (1 - _CROP) / 2) for side in (height, width))
        yield np.ascontiguousarray(image[down : height - down, across : width - across])


def scores_by_judge(views: Sequence[Mapping[str, Score]]) -> Values:
    """Return a picture's values by judge from the scores of its views."""
    return {name: [scores[name].value for scores in views] for name in SCALED}


def as_sample(image: Image, place: int) -> Sample:
    """Return a sound picture as a sample: of a person, with nothing else required."""
    return Sample(Prompt("a person"), place, image)


def set_thresholds(sound: Sequence[Values], origin: str) -> Thresholds:
    """Return the thresholds by the scores of sound pictures; `origin` names the pictures.

    Below FEWEST pictures all thresholds are pooled.
    """
    return Thresholds(
        len(sound), origin, utc_now(), tuple(_threshold_of(judge, sound) for judge in SCALED)
    )


def _threshold_of(judge: str, sound: Sequence[Values]) -> Threshold:
    own = [picture.get(judge, ()) for picture in sound]
    values = [value for picture in own for value in picture if value is not None]
    first = [picture[0] for picture in own if picture and picture[0] is not None]
    cut = conformal_threshold(values) if len(first) >= FEWEST else None
    threshold = _POOLED if cut is None else min(_POOLED, max(_LEAST, cut))
    return Threshold(
        judge, _versions()[judge], threshold, threshold == _POOLED, _share(first, threshold)
    )


def _versions() -> Mapping[str, str]:
    return {judge.name: judge_version(judge, "photographic") for judge in JUDGES}


def conformal_threshold(sound: Sequence[float], alarms: float = ALARMS) -> float | None:
    """Return the value below which a further sound picture lies with at most this probability.

    It is the k-th smallest value, k the largest whole number up to `alarms` times one more than
    their number; None where that is 0.
    """
    place = math.floor(alarms * (len(sound) + 1))
    return sorted(sound)[place - 1] if place else None


def _share(values: Sequence[float], threshold: float) -> Objective:
    count = sum(value < threshold for value in values)
    low, high = wilson(count, len(values))
    return Objective("alarms", count / max(1, len(values)), low, high, len(values), len(values))


def home_thresholds() -> Path:
    """Return the file of the thresholds that `tuner selfcheck --data` sets for `tuner score`."""
    return shipped.cache_folder() / "thresholds.json"


def write_thresholds(thresholds: Thresholds, file: Path) -> None:
    """Write the thresholds as JSON, replacing those of before."""
    whole = {"format": _FORMAT, **asdict(thresholds)}
    write_text(file, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def read_thresholds(file: Path) -> Thresholds | None:
    """Return the thresholds of a file, None where there is none.

    Raises ConfigError for a file that `write_thresholds` did not write.
    """
    try:
        whole = json.loads(read_text(file))
        if whole.pop("format") != _FORMAT:
            raise ValueError("another format")
        return Thresholds(**{**whole, "judges": tuple(map(_threshold, whole["judges"]))})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{file} holds no thresholds ({' '.join(str(error).split())}); delete it, they are "
            "measured anew"
        ) from error


def _threshold(row: dict[str, Any]) -> Threshold:
    return Threshold(**{**row, "alarms": Objective(**row["alarms"])})
