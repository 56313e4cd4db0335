"""The main figure read again with its forearms and shins painted over.

A pose network draws one valid human, whatever it sees. Of a sound figure it loses a limb that was
painted over. A surplus limb takes the place of the painted one; a limb that was never there leaves
the result as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from metrics.contract import Image
from metrics.figure.body import shows_legs
from metrics.figure.figure import ARMS, LEGS, Figure, Floats, Mask
from metrics.figure.looks import People, Reading
from metrics.figure.second_look import SecondLook, same_figure, torso_length
from metrics.logistic import log_odds
from metrics.preprocess import detector_picture

if TYPE_CHECKING:
    from metrics.detectors.mediapipe import Person

Limb = tuple[int, int]
"""The first and the last joint of a lower limb."""

# In lengths of the torso: the painted strip begins beyond the elbow or knee, so that the rest of
# the limb stays, reaches over the hand or foot, and is as wide as a sleeve.
_BEGIN, _BEYOND, _WIDTH = 0.12, 0.28, 0.3
_REDUCED = 4
"""The surroundings' blur is computed at a quarter of the size: it has no detail."""
_SCALES = (1, 2, 4, 8, 16)
"""Radii of the blurs that fill a painted strip, each where the smaller has no ground, in pixels of
the reduced picture."""
_KNOWN = 0.08
"""Least share of unpainted pixels in a blur's window."""

_MOST = 1.5
"""Largest distance that counts, in lengths of the torso: farther is as wrong."""
_ASIDE = 0.3
"""Distance from the other limb's end up to which a repainted limb merely follows that one."""


def lower_limbs(figure: Figure) -> list[Limb]:
    """Return the forearms and shins that begin in the frame."""
    legs = LEGS if shows_legs(figure) else ()
    limbs = [arm[1:] for arm in ARMS] + [leg[1:3] for leg in legs]
    return [limb for limb in limbs if figure.in_frame(limb[0])]


def repaint(reading: Reading, figure: Figure, pose: Callable[[Image], People]) -> Person | None:
    """Read the main figure of `reading` again, in the same way, without its lower limbs.

    Returns None where no figure is read then.
    """
    picture, person = detector_picture(reading.picture), reading.people[0]
    painted = painted_over(picture, person, lower_limbs(figure))
    return same_figure(reading.look(pose, painted), person)


def painted_over(image: Image, person: Person, limbs: Sequence[Limb]) -> Image:
    """Return the picture with lower limbs, each from joint to joint, in their surroundings' blur.

    The limbs' own pixels do not enter the blur, so that no outline of them remains.
    """
    height, width = image.shape[:2]
    joints = person.joints * np.array([width, height], np.float32)
    torso = torso_length(joints)
    hole: Mask = np.zeros((height, width), np.uint8)
    for limb in limbs:
        start, end = joints[list(limb)]
        onward = (end - start) / max(1e-6, float(np.linalg.norm(end - start)))
        points = [start + _BEGIN * torso * onward, end + _BEYOND * torso * onward]
        line = np.round(np.array(points)).astype(np.int32)
        cv2.polylines(hole, [line], False, (1,), max(3, round(_WIDTH * torso)))
    left, top, wide, high = cv2.boundingRect(hole)
    reach = _REDUCED * _SCALES[-1]
    window = np.s_[
        max(0, top - reach) : top + high + reach, max(0, left - reach) : left + wide + reach
    ]
    painted = image.copy()
    painted[window] = _blurred_over(image[window], hole[window])
    return painted


def _blurred_over(image: Image, hole: Mask) -> Image:
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), 1.5)
    share = np.maximum(soft, hole)[..., None]
    painted = image * (1.0 - share) + _surroundings(image, hole) * share
    return np.asarray(np.round(painted), np.uint8)


def _surroundings(image: Image, hole: Mask) -> Floats:
    """Return the mean colour around each pixel without the hole's own, shape (H, W, 3)."""
    height, width = hole.shape
    size = (max(1, width // _REDUCED), max(1, height // _REDUCED))
    full = (1 - hole).astype(np.float32)
    kept = cv2.resize(full, size, interpolation=cv2.INTER_AREA)
    colours = cv2.resize(image * full[..., None], size, interpolation=cv2.INTER_AREA)
    filled: Floats = np.zeros(colours.shape, np.float32)
    known = np.zeros(kept.shape, bool)
    for radius in _SCALES:
        window = (2 * radius + 1, 2 * radius + 1)
        share = cv2.blur(kept, window)
        mean = cv2.blur(colours, window) / np.maximum(share, 1e-3)[..., None]
        filled = np.where(known[..., None], filled, mean).astype(np.float32)
        known |= share > _KNOWN
    return np.asarray(cv2.resize(filled, (width, height)), np.float32)


def repainted_limbs(figure: Figure, look: SecondLook, again: Person | None) -> dict[str, float]:
    """Return the measurements of limbs that were painted over as plain numbers.

    `again` is the figure as `repaint` read it. `arm_stays`: log odds with which a wrist is still
    seen after its forearm was painted over; `arm_replaced`, `leg_replaced`: how far the end of the
    limb then moved, in lengths of the torso, for less where it is hardly seen and where it merely
    follows the other limb. 0 for limbs that the frame does not show.
    """
    ends = [end for _, end in lower_limbs(figure)]
    arms, legs = (
        [_replaced(look, again, limb[2]) for limb in limbs if limb[2] in ends]
        for limbs in (ARMS, LEGS)
    )
    return {
        "arm_replaced": max((moved for moved, _ in arms), default=0.0),
        "arm_stays": max((shown for _, shown in arms), default=0.0),
        "leg_replaced": max((moved for moved, _ in legs), default=0.0),
    }


def _replaced(look: SecondLook, person: Person | None, end: int) -> tuple[float, float]:
    """Return how far a painted-over limb's end moved, and the log odds with which it is seen."""
    if person is None:
        return 0.0, log_odds(0.0)
    place = person.joints[end] * look.size
    moved = float(np.linalg.norm(place - look.person.joints[end] * look.size)) / look.torso
    other = end + 1 if end % 2 else end - 1
    aside = float(np.linalg.norm(place - look.person.joints[other] * look.size)) / look.torso
    shown = float(person.visibility[end])
    return min(_MOST, moved) * shown * min(1.0, aside / _ASIDE), log_odds(shown)
