"""Paths of the files in the package, and the folder for files that are made or downloaded later.

`tuner build-mannequin` makes the mannequin's weights.
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
"""Selfchecks of the mannequin's judges on rendered figures.

When a judge changes, delete the file and run
`tuner selfcheck --count 200 --size 64 --save tuner/mannequin/calibration.json`, and the same with
size 256.
"""
NATIVE_SIZE = 64
CLIP_TRAITS = ("clothes colour", "hair length", "background")
"""Traits of metrics.judges.prompt_fit that the small open_clip model can recognise."""
CLIP_SEX_MARGIN = 0.94
"""Difference of the two sexes' probabilities below which the small open_clip model gives no answer.

Its temperature makes its probabilities too extreme. Measured on 729 rendered figures of the first
style, some soft, undressed or redrawn: 2.1 % of all answers are wrong, and 0.9 % of those with a
larger difference, which are 95 % of all.
"""

DATA_VARIANTS = ("rare_males", "balanced", "matted", "original", "square", "few", "one_look")
"""Variants of the mannequin's data set; `mannequin` in a search space means the first one."""


def data_variant(data: str) -> str | None:
    """Return the variant that `mannequin` or `mannequin:VARIANT` names; None if `data` is a folder.

    Raises ValueError for an unknown variant.
    """
    word, colon, variant = data.partition(":")
    if word != "mannequin":
        return None
    if colon and variant not in DATA_VARIANTS:
        raise ValueError(f"no variant {variant!r}")
    return variant or DATA_VARIANTS[0]


def cache_folder() -> Path:
    """Return the folder for files made or downloaded once: TUNER_HOME, else the user's cache.

    The folder may not exist yet.
    """
    return models.cache_folder().parent
