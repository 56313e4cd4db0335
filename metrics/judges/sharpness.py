"""Is the picture sharp at its own size?"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Image, Sample, Score
from metrics.evidence import Evidence, Judge

NAME = "sharp"

BLURRED = 0.58
"""Blur effect at which a picture counts as half sharp.

Sharp photographs and renders lie at 0.2 to 0.5, and a Gaussian blur of two pixels takes them to
0.6 and above.
"""
PHOTO_BLURRED = 0.6
"""The same for photographs: of 208 sound real pictures the sharper of picture and figure lies below
0.59, and of the same with a blur of 1 % of the shorter side 98 % lie above."""
_MIN_CROP = 32  # pixels of a figure's crop: a smaller one has too few edges
_WIDTH = 0.05
_WINDOW = 11
_LUMINANCE = np.array([[0.2125, 0.7154, 0.0721]], np.float32)  # of R, G and B: scikit-image's
_NO_EDGES = 1e-6


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return the sharpness of the picture, 1 for a sharp and 0 for a blurred one.

    The measure is the blur effect of Crete et al. 2007, 0 sharp to 1 blurred: a second blur changes
    a blurred picture little. A constant picture has nothing sharp in it and scores 0.
    """
    if int(sample.image.max()) - int(sample.image.min()) < 2:
        return Score(NAME, 0.0, None, {"constant": True})
    blur = blur_effect(sample.image)
    value = 1.0 / (1.0 + math.exp((blur - BLURRED) / _WIDTH))
    return Score(NAME, value, None, {"blur_effect": blur})


def photo_score(sample: Sample, evidence: Evidence) -> Score:
    """Return the sharpness of a photograph or of its main figure, whichever is sharper.

    A soft ground is a choice of the photographer. A constant picture scores 0.
    """
    image = sample.image
    if int(image.max()) - int(image.min()) < 2:
        return Score(NAME, 0.0, None, {"constant": True})
    blur = blur_effect(image)
    if evidence.person is not None:
        height, width = image.shape[:2]
        left, top, right, bottom = evidence.person.box
        rows = slice(round(top * height), round(bottom * height))
        crop = image[rows, round(left * width) : round(right * width)]
        if min(crop.shape[:2]) >= _MIN_CROP:
            blur = min(blur, blur_effect(np.ascontiguousarray(crop)))
    value = 1.0 / (1.0 + math.exp((blur - PHOTO_BLURRED) / _WIDTH))
    return Score(NAME, value, None, {"blur_effect": blur})


def blur_effect(image: Image) -> float:
    """Return the blur effect of a picture, 0 sharp to 1 blurred; 1 for a picture without edges.

    For each direction it is the share of the edges that a mean over eleven pixels leaves; the
    larger share counts. skimage.measure.blur_effect gives the same number in eight times the time.
    """
    grey = cv2.transform(image.astype(np.float32) / 255.0, _LUMINANCE)
    return max(_left_by_a_mean(grey), _left_by_a_mean(np.ascontiguousarray(grey.T)))


def _left_by_a_mean(grey: npt.NDArray[np.float32]) -> float:
    """Return the share of the steps from column to column that a mean along the rows leaves."""
    smoothed = cv2.blur(grey, (_WINDOW, 1), borderType=cv2.BORDER_REFLECT)
    sharp, soft = (
        np.abs(cv2.Sobel(picture, -1, 1, 0, borderType=cv2.BORDER_REFLECT))[2:-1, 2:-1]
        for picture in (grey, smoothed)
    )
    edges = float(sharp.sum(dtype=np.float64))
    lost = float(np.maximum(0.0, sharp - soft).sum(dtype=np.float64))
    return 1.0 - lost / edges if edges > _NO_EDGES * sharp.size else 1.0


JUDGE = Judge(NAME, score, photo_score)
