"""Irises painted red, at their own lightness."""

from __future__ import annotations

import cv2
import numpy as np

from metrics.contract import Image
from metrics.figure.figure import LEFT_EYE, RIGHT_EYE
from metrics.judges.red_eyes import IRIS, eye_distance, too_small
from metrics.preprocess import lab
from tuner.judging.painting.body import PictureBody

_RED = (30.0, 55.0, 35.0)  # L*a*b* of a red iris; a brighter iris keeps its lightness


def with_red_eyes(body: PictureBody) -> Image | None:
    """Return the picture with both irises red; None where the face is too small or averted."""
    distance = eye_distance(body.figure, body.image)
    if too_small(body.image, distance) or not body.shows(LEFT_EYE, RIGHT_EYE):
        return None
    iris = np.zeros(body.mask.shape, np.float32)
    for eye in (LEFT_EYE, RIGHT_EYE):
        x, y = (round(float(value)) for value in body.joints[eye])
        cv2.circle(iris, (x, y), max(1, round(IRIS * distance / 2)), (1.0,), -1)
    colours = lab(body.image)
    red = np.stack(
        [np.maximum(colours[..., 0], _RED[0]), *(np.full_like(iris, c) for c in _RED[1:])]
    )
    painted = np.where(iris[..., None] > 0, red.transpose(1, 2, 0), colours)
    rgb = cv2.cvtColor(painted.astype(np.float32), cv2.COLOR_LAB2RGB)
    image = np.where(iris[..., None] > 0, np.clip(np.round(rgb * 255), 0, 255), body.image)
    return image.astype(np.uint8)
