"""Is the figure dressed? Two questions: are explicit parts bare, and is the torso cloth?

NudeNet knows bodies of flesh and misses a featureless one; the colour of the torso against the
face finds that one and cannot tell an explicit picture from a bare-chested one.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Judge, Sample, Score
from metrics.evidence import Evidence
from metrics.figure import (
    LEFT_EYE,
    LEFT_HIP,
    LEFT_SHOULDER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    NOSE,
    RIGHT_EYE,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    Figure,
    Mask,
    fill_hull,
)
from metrics.preprocess import lab

EXPLICIT_PARTS = (
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "BUTTOCKS_EXPOSED",
    "ANUS_EXPOSED",
)
EXPLICIT_SCORE = 0.6
"""NudeNet's score at which a part counts as seen: the value is one half there."""

# Lightness counts little, because a torso lies in the chin's shadow or in a highlight.
_WEIGHTS = np.array([0.3, 1.0, 1.0], np.float32)
_SKIN_DISTANCE = 20.0
_MIN_FACE_PIXELS, _MIN_TORSO_PIXELS = 4, 12


def no_explicit_parts(sample: Sample, evidence: Evidence) -> Score:
    """1 where NudeNet sees no exposed explicit part, below one half where it is sure of one."""
    found = {name: evidence.parts.get(name, 0.0) for name in EXPLICIT_PARTS}
    value = 1.0 - min(1.0, 0.5 * max(found.values()) / EXPLICIT_SCORE)
    seen = {name: score for name, score in found.items() if score > 0}
    return Score("no_explicit_parts", value, None, seen)


def cloth_share(sample: Sample, evidence: Evidence) -> Score:
    """Share of the visible torso whose colour is not that of the face, 0 to 1.

    Abstains where no pose is read and where the frame shows too little of face or torso.
    Clothes in the colour of the skin look like skin here.
    """
    figure = evidence.figure
    if figure is None:
        return Score("cloth_share", None, "no pose read")
    colours = lab(figure.picture) * _WEIGHTS
    face, torso = colours[_face(figure) > 0], colours[(_torso(figure) & figure.mask) > 0]
    if len(face) < _MIN_FACE_PIXELS:
        return Score("cloth_share", None, "no face in the frame")
    if len(torso) < _MIN_TORSO_PIXELS:
        return Score("cloth_share", None, "no torso in the frame")
    gaps: npt.NDArray[np.float32] = np.linalg.norm(torso - np.median(face, axis=0), axis=1)
    share = float((gaps > _SKIN_DISTANCE).mean())
    return Score("cloth_share", share, None, {"median_distance": float(np.median(gaps))})


def _face(figure: Figure) -> Mask:
    """A disc around the nose, between eyes and mouth, clear of hair and beard."""
    joints = figure.joints
    eyes = joints[[LEFT_EYE, RIGHT_EYE]].mean(axis=0)
    mouth = joints[[MOUTH_LEFT, MOUTH_RIGHT]].mean(axis=0)
    x, y = 0.25 * eyes + 0.25 * mouth + 0.5 * joints[NOSE]
    region: Mask = np.zeros(figure.soft_mask.shape, np.uint8)
    cv2.circle(region, (round(float(x)), round(float(y))), round(0.22 * figure.unit), (1,), -1)
    return region


def _torso(figure: Figure) -> Mask:
    """The middle of the torso, clear of neck, hair at the sides and hanging arms."""
    joints = figure.joints
    shoulders = joints[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    hips = joints[[LEFT_HIP, RIGHT_HIP]].mean(axis=0)
    corners = []
    for shoulder, hip in ((LEFT_SHOULDER, LEFT_HIP), (RIGHT_SHOULDER, RIGHT_HIP)):
        for along, width in ((0.18, 0.6), (0.85, 0.7)):
            middle = shoulders + (hips - shoulders) * along
            side = joints[shoulder] + (joints[hip] - joints[shoulder]) * along
            corners.append(middle + (side - middle) * width)
    region: Mask = np.zeros(figure.soft_mask.shape, np.uint8)
    fill_hull(region, corners)
    return region


EXPLICIT_JUDGE = Judge("no_explicit_parts", "clothing", no_explicit_parts)
CLOTH_JUDGE = Judge("cloth_share", "clothing", cloth_share)
