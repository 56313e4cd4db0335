"""The main figure read again with forearms or shins painted over.

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
Repainted = dict[int, "Person | None"]
"""By the last joint of each painted limb, a wrist (15, 16) or an ankle (27, 28): the figure that is
read then, None where none is."""

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


SOUND_LIMBS = {"arm_replaced": 0.15, "arm_stays": 1.5, "leg_replaced": 0.0}
"""The measurements of limbs that were not painted over: the medians of sound ones."""


def lower_limbs(figure: Figure, arms: bool, legs: bool) -> list[list[Limb]]:
    """Return the forearms and shins that begin in the frame, those of one picture together.

    Each forearm is painted over in a picture of its own, both shins in one.
    """
    forearms = [[arm[1:]] for arm in ARMS if arms and figure.in_frame(arm[1])]
    shown = legs and shows_legs(figure)
    shins = [leg[1:3] for leg in LEGS if shown and figure.in_frame(leg[1])]
    return [*forearms, shins] if shins else forearms


def repaint(
    reading: Reading, limbs: Sequence[Sequence[Limb]], pose: Callable[[Image], People]
) -> Repainted:
    """Read the main figure of `reading` again, in the same way, in a picture for each of `limbs`.

    In each picture the limbs that belong together are painted over.
    """
    picture, person = detector_picture(reading.picture), reading.people[0]
    repainted: Repainted = {}
    for together in limbs:
        people = reading.look(pose, painted_over(picture, person, together))
        repainted |= dict.fromkeys((end for _, end in together), same_figure(people, person))
    return repainted


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


def repainted_limbs(look: SecondLook, repainted: Repainted) -> dict[str, float]:
    """Return the measurements of limbs that were painted over as plain numbers.

    `arm_stays`: log odds with which a wrist is still seen after its forearm was painted over;
    `arm_replaced`, `leg_replaced`: how far the end of the limb then moved, in lengths of the torso,
    for less where it is hardly seen and where it merely follows the other limb. Limbs that were not
    painted over get the values of sound ones.
    """
    arms, legs = (
        [_replaced(look, repainted[limb[2]], limb[2]) for limb in limbs if limb[2] in repainted]
        for limbs in (ARMS, LEGS)
    )
    measured = dict(SOUND_LIMBS)
    if arms:
        measured["arm_replaced"] = max(moved for moved, _ in arms)
        measured["arm_stays"] = max(shown for _, shown in arms)
    if legs:
        measured["leg_replaced"] = max(moved for moved, _ in legs)
    return measured


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
