"""Are the eyes of the main figure red, as in a bad flash photograph or an over-trained picture?

The pose landmarker's eye landmarks give the place. A red iris is a spot of red completely inside
the eye's surroundings; red hair, glasses or a red ground reach in from outside.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from metrics.contract import Image, Sample, Score
from metrics.evidence import Evidence, Judge
from metrics.figure.figure import LEFT_EYE, RIGHT_EYE, Figure, Floats
from metrics.figure.skin import face_colours
from metrics.preprocess import lab
from metrics.threshold import Threshold

NAME = "no_red_eyes"

IRIS = 0.187
"""Diameter of an iris as a share of the distance between the pupils: 11.8 of 63 mm in adults."""
MIN_DISTANCE = 13.0
"""Least distance between the eyes, in pixels: below it an iris is two pixels wide or less."""
MIN_SIDE = 128
"""Shorter side, in pixels, below which no picture is judged: its faces are too coarse."""

# On 140 half-body renders of both styles at 256 px, red irises show 1.7 to 4 natural irises of
# red (they are drawn large), sound ones none; a red pupil alone is about a third of an iris.
RED = Threshold(0.3, 0.05)
_EXCESS = 30.0  # of a* over the face: red hair and brows lie at 15 to 26, red irises at 50
EYE_OPENING = 3.0
"""Largest red spot on a photograph, in natural irises, that can be an eye: the opening between the
lids is about 2.4 irises, the glass of red spectacles 9 and more."""
_ASIDE, _ABOVE, _BELOW = 0.5, 0.45, 0.8  # of the distance: landmarks lie above drawn eyes


def photo_score(sample: Sample, evidence: Evidence) -> Score:
    """Return the score of a photograph, on which a spot larger than an eye is no eye."""
    return score(sample, evidence, EYE_OPENING)


def score(sample: Sample, evidence: Evidence, largest: float = math.inf) -> Score:
    """Return 1 where no eye is red, 0 where one is, by the red area in units of a natural iris.

    Abstains where no pose is read, where no eye is in the frame, where the skin cannot be seen and
    where an iris would be too small: small pictures, small or averted faces.
    """
    figure, image = evidence.figure, sample.image
    if figure is None:
        return Score(NAME, None, "no pose read")
    distance = eye_distance(figure, image)
    if reason := too_small(image, distance):
        return Score(NAME, None, reason, {"eye_distance": distance})
    skins = face_colours(figure, figure.colours)
    if not skins:
        return Score(NAME, None, "no face in the frame", {"eye_distance": distance})
    skin = float(np.median([skin[1] for skin in skins]))
    shown = [joint for joint in (LEFT_EYE, RIGHT_EYE) if figure.in_frame(joint)]
    reds = [
        _red_irises(image, place, distance, skin, largest)
        for place in eye_positions(figure, image, shown)
    ]
    if not reds:
        return Score(NAME, None, "no eye in the frame", {"eye_distance": distance})
    return Score(NAME, RED.against(max(reds)), None, {"eye_distance": distance, "red_irises": reds})


def too_small(image: Image, distance: float) -> str | None:
    """Return why no iris can be seen at this distance between the eyes; None where it can."""
    if min(image.shape[:2]) < MIN_SIDE:
        return "picture too small to see an iris"
    return "eyes too small to see an iris" if distance < MIN_DISTANCE else None


def eye_positions(figure: Figure, image: Image, joints: list[int]) -> list[Floats]:
    """Return the eye landmarks `joints` as (x, y) in the picture's own pixels."""
    scale = image.shape[1] / figure.picture.shape[1]
    return [figure.joints[joint] * scale for joint in joints]


def eye_distance(figure: Figure, image: Image) -> float:
    """Return the distance between the eyes in the picture's own pixels."""
    left, right = eye_positions(figure, image, [LEFT_EYE, RIGHT_EYE])
    return float(np.linalg.norm(left - right))


def _red_irises(image: Image, eye: Floats, distance: float, skin: float, largest: float) -> float:
    """Return the area of the largest red spot about an eye, in units of a natural iris.

    `skin` is the a* of the face, so that warm light makes nobody's eyes red.
    """
    height, width = image.shape[:2]
    x, y = float(eye[0]), float(eye[1])
    left, right = max(0, int(x - _ASIDE * distance)), min(width, int(x + _ASIDE * distance) + 1)
    top, bottom = max(0, int(y - _ABOVE * distance)), min(height, int(y + _BELOW * distance) + 1)
    if right - left < 3 or bottom - top < 3:
        return 0.0
    red = (lab(image[top:bottom, left:right])[..., 1] - skin > _EXCESS).astype(np.uint8)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(red, connectivity=8)
    iris = np.pi / 4 * (IRIS * distance) ** 2
    inside = [
        int(area)
        for x0, y0, wide, high, area in boxes[1:]
        if x0 > 0
        and y0 > 0
        and x0 + wide < red.shape[1]
        and y0 + high < red.shape[0]
        and area <= largest * iris
    ]
    return max(inside, default=0) / iris


JUDGE = Judge(NAME, score, photo_score)
