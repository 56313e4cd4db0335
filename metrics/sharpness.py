"""Is the picture sharp at its own size?"""

from __future__ import annotations

import math

import numpy as np
from skimage.measure import blur_effect

from metrics.contract import Image, Judge, Sample, Score
from metrics.evidence import Evidence

NAME = "sharp"

BLURRED = 0.58
"""Blur effect at which a picture counts as half sharp.

Sharp photographs and renders lie at 0.2 to 0.5, and a Gaussian blur of two pixels takes them to
0.6 and above.
"""
_WIDTH = 0.05


def score(sample: Sample, evidence: Evidence) -> Score:
    """1 where sharp, 0 where blurred, by how little a second blur would change the picture.

    The measure is the blur effect of Crete et al. 2007, 0 sharp to 1 blurred. A constant picture
    has nothing sharp in it and scores 0.
    """
    if int(sample.image.max()) - int(sample.image.min()) < 2:
        return Score(NAME, 0.0, None, {"constant": True})
    blur = blur_of(sample.image)
    value = 1.0 / (1.0 + math.exp((blur - BLURRED) / _WIDTH))
    return Score(NAME, value, None, {"blur_effect": blur})


def blur_of(image: Image) -> float:
    """The blur effect of a picture, 0 sharp to 1 blurred; 1 for one without any edge."""
    return float(np.nan_to_num(blur_effect(image, channel_axis=-1), nan=1.0))


JUDGE = Judge(NAME, "quality", score)
