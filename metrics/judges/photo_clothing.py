"""Is the torso of a photographed person cloth? The colour of its skin, and NudeNet's parts.

A body is bare where chest, waist and belly all continue the colour of the face or of the throat.
Throats lie under collars and scarves, so a throat that does not resemble the face is not used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from metrics.contract import Image, Sample, Score
from metrics.evidence import Evidence
from metrics.figure.figure import (
    LEFT_HIP,
    LEFT_SHOULDER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    NOSE,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    Figure,
    Floats,
    Mask,
    figure_unit,
    fill_hull,
    patch_colour,
)
from metrics.figure.skin import face_colours, skin_distance, skin_distances
from metrics.threshold import Threshold

if TYPE_CHECKING:
    from metrics.detectors.mediapipe import Person

NAME = "cloth_share"

_UNIT = 24.0
"""Pixels per unit (about a head) to which larger figures are reduced: grain and pores vanish."""
_MIN_UNIT = 11.0
"""Least pixels per unit: below it a throat is a pixel or two wide."""
_BANDS = ((0.12, 0.36), (0.36, 0.6), (0.6, 0.86))
"""Chest, waist and belly, from the shoulders (0) to the hips (1), clear of neck and belt."""
_WIDTH = 0.65  # share of the torso's width: hanging arms and hair at the sides stay out
_MIN_PIXELS = 12
_MOST = 0.6
"""Share of a band's pixels that resemble the skin more than its distance says: tattoos, shadows and
hair may cover the rest."""
_THROATS = (0.45, 0.6, 0.75)  # from mouth to collar bones
_THROAT_LIKE_FACE = 10.0
"""Distance from the face above which a throat is a collar, a scarf or hair: the chin's shadow and a
tan change skin by less."""

# Of 6 real bare torsos all have their farthest band within 7.6 of face or throat; of 211 dressed
# real people whose face has the colour of skin, 4 have one within 8.5. With the shifts below, and
# the cut below which 2 % of the other repositories lie, 5 of 185 sound ones raise an alarm.
_FROM_SKIN = 8.5
_STEP = 1.2
_COVERED = ("FEMALE_BREAST_COVERED",)
_COVERED_SHIFT = -3.5
"""NudeNet sees a covered chest on every second dressed person and on none of 6 bare ones."""
_BARE = ("MALE_BREAST_EXPOSED",)
_BARE_SHIFT = 8.0
"""NudeNet sees a man's bare chest on 2 of 6 bare people and on none of 247 dressed ones."""
_PART = 0.3
"""Score from which a part counts."""

_SKIN_CHROMA, _SKIN_HUES = 7.0, (0.0, 80.0)
"""Least chroma of a face, and its hue in degrees, in L*a*b*. Skin has 12 to 30 and 20 to 75 in
white light; grey pictures have no chroma, helmets, masks and hair other hues."""
_SURELY_CLOTH = 20.0
"""Distance above which a torso is cloth, even beside a face without the colour of skin."""


def cloth_share(sample: Sample, evidence: Evidence) -> Score:
    """Return the probability that some of chest, waist and belly is not in the skin's colour.

    Abstains where no pose is read, where the head is too small, where the frame shows too little
    of face or torso, and where the face does not have the colour of skin (grey pictures, masks)
    and the torso is not clearly different. Clothes in the colour of the skin count as skin, unless
    NudeNet sees a covered chest.
    """
    if evidence.person is None:
        return Score(NAME, None, "no pose read")
    figure = close_figure(sample.image, evidence.person)
    if figure is None:
        return Score(NAME, None, "head too small to tell its colour")
    faces = face_colours(figure, figure.colours)
    if not faces:
        return Score(NAME, None, "no face in the frame")
    face: Floats = np.median(faces, axis=0)
    skins = [face, *_throat(figure, face)]
    distance = farthest_band(figure, skins)
    if distance is None:
        return Score(NAME, None, "no torso in the frame")
    measured = {"from_skin": distance, "throats": len(skins) - 1}
    if distance < _SURELY_CLOTH and not _is_skin(face):
        return Score(NAME, None, "the face does not have the colour of skin", measured)
    parts = evidence.parts
    middle = _FROM_SKIN
    middle += _COVERED_SHIFT if _shows(parts, _COVERED) else 0.0
    middle += _BARE_SHIFT if _shows(parts, _BARE) else 0.0
    shown = {name: parts[name] for name in (*_COVERED, *_BARE) if name in parts}
    return Score(NAME, Threshold(middle, _STEP)(distance), None, {**measured, **shown})


def close_figure(image: Image, person: Person) -> Figure | None:
    """Return head and torso at _UNIT pixels per unit or fewer; None where the head is too small.

    A figure on the whole picture's working copy would have a head of few pixels.
    """
    height, width = image.shape[:2]
    joints = person.joints * np.array([width, height], np.float32)
    unit = figure_unit(joints)
    corners = joints[[NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP]]
    left, top = (max(0, int(value)) for value in corners.min(axis=0) - unit)
    right, bottom = (int(value) + 1 for value in corners.max(axis=0) + unit)
    right, bottom = min(width, right), min(height, bottom)
    if unit < _MIN_UNIT or right - left < _MIN_UNIT or bottom - top < _MIN_UNIT:
        return None
    scale = min(1.0, _UNIT / unit)
    size = max(1, round(scale * (right - left))), max(1, round(scale * (bottom - top)))
    rows, columns = (np.array(person.mask.shape) / (height, width)).tolist()
    mask = person.mask[
        int(rows * top) : math.ceil(rows * bottom), int(columns * left) : math.ceil(columns * right)
    ]
    cut = image[top:bottom, left:right]
    picture, soft = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (cut, mask))
    scales = np.array(size, np.float32) / (right - left, bottom - top)
    placed = ((joints - (left, top)) * scales).astype(np.float32)
    return Figure(
        np.asarray(picture, np.uint8),
        placed,
        person.visibility,
        np.asarray(soft, np.float32),
        unit * scale,
    )


def farthest_band(figure: Figure, skins: Sequence[Floats]) -> float | None:
    """Return the distance from skin of the band of the torso that is least like it.

    A pixel's distance is that from the nearest of `skins`, a band's the one that _MOST of its
    pixels stay below. None where the frame shows no band.
    """
    distances = []
    for start, end in _BANDS:
        pixels = figure.colours[(_band(figure, start, end) & figure.mask) > 0]
        if len(pixels) >= _MIN_PIXELS:
            nearest = np.min([skin_distances(pixels, skin) for skin in skins], axis=0)
            distances.append(float(np.quantile(nearest, _MOST)))
    return max(distances, default=None)


def _throat(figure: Figure, face: Floats) -> list[Floats]:
    """Return the colour of the throat, empty where it does not resemble the face."""
    mouth = figure.joints[[MOUTH_LEFT, MOUTH_RIGHT]].mean(axis=0)
    shoulders = figure.joints[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    places = [mouth + along * (shoulders - mouth) for along in _THROATS]
    patches = [patch_colour(figure.colours, figure.mask, at, 0.1 * figure.unit) for at in places]
    alike = [
        patch
        for patch in patches
        if patch is not None and skin_distance(patch, face) < _THROAT_LIKE_FACE
    ]
    return [np.median(alike, axis=0)] if alike else []


def _band(figure: Figure, start: float, end: float) -> Mask:
    joints = figure.joints
    shoulders = joints[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    hips = joints[[LEFT_HIP, RIGHT_HIP]].mean(axis=0)
    corners = []
    for shoulder, hip in ((LEFT_SHOULDER, LEFT_HIP), (RIGHT_SHOULDER, RIGHT_HIP)):
        for along in (start, end):
            middle = shoulders + (hips - shoulders) * along
            side = joints[shoulder] + (joints[hip] - joints[shoulder]) * along
            corners.append(middle + (side - middle) * _WIDTH)
    region: Mask = np.zeros(figure.soft_mask.shape, np.uint8)
    fill_hull(region, corners)
    return region


def _is_skin(colour: Floats) -> bool:
    hue = float(np.degrees(np.arctan2(colour[2], colour[1])))
    return float(np.hypot(*colour[1:])) >= _SKIN_CHROMA and _SKIN_HUES[0] <= hue <= _SKIN_HUES[1]


def _shows(parts: Mapping[str, float], names: Sequence[str]) -> bool:
    return any(parts.get(name, 0.0) >= _PART for name in names)
