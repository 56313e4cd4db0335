"""Is the figure dressed? Two questions: are explicit parts bare, and is the torso cloth?

NudeNet knows natural bodies and misses a body without features, such as a mannequin's. Comparing
the colour of the torso with neck and face finds that body too, but cannot distinguish an explicit
picture from a bare-chested one.
"""

from __future__ import annotations

import numpy as np

from metrics.contract import Sample, Score
from metrics.evidence import Evidence, Judge
from metrics.figure.figure import (
    LEFT_HIP,
    LEFT_SHOULDER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    Figure,
    Floats,
    Mask,
    fill_hull,
    patch_colour,
)
from metrics.figure.skin import face_colours, skin_distance
from metrics.judges import photo_clothing
from metrics.threshold import Threshold

EXPLICIT_PARTS = (
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "BUTTOCKS_EXPOSED",
    "ANUS_EXPOSED",
)
EXPLICIT_SCORE = 0.6
"""NudeNet's score at which a part counts as exposed: the value is one half there."""

# Of 312 unclothed renders of the mannequin and reconstructions by its autoencoder, 99 % have a
# torso within 4 of the neck and within 12 of the face; of 597 dressed ones, 99 % are farther than
# 20 from either. Generated figures differ more from neck to torso: these lie in between.
FROM_NECK = Threshold(9.0, 1.2)
FROM_FACE = Threshold(20.0, 1.5)
_MIN_TORSO_PIXELS = 12
_MIN_UNIT = 11.0
"""Least pixels per unit of the working picture. Below it a throat is a pixel or two wide, and a
collar is taken for it: 99 % of the mannequin's samples have 12 and more, a full body fills the
frame at 14."""


def no_explicit_parts(sample: Sample, evidence: Evidence) -> Score:
    """Return 1 where NudeNet sees no exposed explicit part, below one half where it is sure."""
    scores = {name: evidence.parts.get(name, 0.0) for name in EXPLICIT_PARTS}
    value = 1.0 - min(1.0, 0.5 * max(scores.values()) / EXPLICIT_SCORE)
    shown = {name: score for name, score in scores.items() if score > 0}
    return Score("no_explicit_parts", value, None, shown)


def cloth_share(sample: Sample, evidence: Evidence) -> Score:
    """Return the probability that most of the torso is cloth: not the colour of neck and face.

    Skin continues from the neck to the torso, so a small difference from the neck is enough; eyes,
    lips and beards tint the face, so the difference from it has to be larger. A collar in the
    colour of the torso hides the neck, and there the face decides. Abstains where no pose is read,
    where the head is too small and where the frame shows too little of face or torso. Clothes in
    the colour of the skin count as skin.
    """
    figure = evidence.figure
    if figure is None:
        return Score("cloth_share", None, "no pose read")
    if figure.unit < _MIN_UNIT:
        return Score("cloth_share", None, "head too small to tell its colour")
    colours = figure.colours
    faces, torso = face_colours(figure, colours), colours[(_torso(figure) & figure.mask) > 0]
    if not faces:
        return Score("cloth_share", None, "no face in the frame")
    if len(torso) < _MIN_TORSO_PIXELS:
        return Score("cloth_share", None, "no torso in the frame")
    colour: Floats = np.median(torso, axis=0)
    distances = [skin_distance(colour, face) for face in faces]
    measured = {"from_face": float(np.median(distances))}
    value = FROM_FACE(measured["from_face"])
    neck = _neck(figure, colours)
    if neck is not None:
        measured["from_neck"] = skin_distance(colour, neck)
        value = max(value, FROM_NECK(measured["from_neck"]))
    return Score("cloth_share", value, None, measured)


def _neck(figure: Figure, colours: Floats) -> Floats | None:
    """Return the colour of the throat, three quarters of the way from mouth to collar bones."""
    joints = figure.joints
    mouth = joints[[MOUTH_LEFT, MOUTH_RIGHT]].mean(axis=0)
    shoulders = joints[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    throat = mouth + 0.75 * (shoulders - mouth)
    return patch_colour(colours, figure.mask, throat, 0.1 * figure.unit)


def _torso(figure: Figure) -> Mask:
    """Return the middle of the torso, clear of neck, hair at the sides and hanging arms."""
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


EXPLICIT_JUDGE = Judge("no_explicit_parts", no_explicit_parts)
CLOTH_JUDGE = Judge("cloth_share", cloth_share, photo_clothing.cloth_share)
