"""Files that come with the package, and the folder for those that are made or fetched later.

The mannequin's weights are made by `tuner build-mannequin`.
"""

from __future__ import annotations

from pathlib import Path

from metrics.detectors import models

_MANNEQUIN = Path(__file__).parents[1] / "mannequin"
WEIGHTS = _MANNEQUIN / "weights"
BASE = WEIGHTS / "base"
CLIP = WEIGHTS / "clip"
YOLO = WEIGHTS / "yolo"
CALIBRATION = _MANNEQUIN / "calibration.json"
"""Selfchecks of the mannequin's judges on rendered figures. When a judge changes, delete the file
and run `tuner selfcheck --count 200 --size 64 --save tuner/mannequin/calibration.json`, and the
same for 256."""
NATIVE_SIZE = 64
CLIP_TRAITS = ("clothes colour", "hair length", "background")
"""The traits of metrics.judges.prompt_fit that the small open_clip model can tell: see there."""
CLIP_SEX_MARGIN = 0.94
"""Difference of the two sexes' probabilities below which the small open_clip model gives no answer.
Its temperature makes it too sure of itself: of 729 rendered figures of the first style, some soft,
undressed or redrawn, 2.1 % of all answers are wrong, and 0.9 % of those above it (95 %)."""

DATA_VARIANTS = ("rare_males", "balanced", "matted", "original", "square", "few", "one_look")
"""The variants of the data set; `mannequin` in a search space means the first one."""


def data_variant(data: str) -> str | None:
    """Return the variant that `mannequin` or `mannequin:VARIANT` names; None if `data` is a folder.

    Raises ValueError for a variant that there is not.
    """
    word, colon, variant = data.partition(":")
    if word != "mannequin":
        return None
    if colon and variant not in DATA_VARIANTS:
        raise ValueError(f"no variant {variant!r}")
    return variant or DATA_VARIANTS[0]


def cache_folder() -> Path:
    """Return the folder for what is made or fetched once: TUNER_HOME, else the user's cache.

    It need not exist yet.
    """
    return models.cache_folder().parent
