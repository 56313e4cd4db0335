"""The main figure read again: mirrored, with a limb painted over, and with a closer look at hands.

A pose network draws one valid human, whatever it sees. On a sound figure it draws the same human
when the picture is mirrored, and loses a limb that was painted over. A surplus limb takes the place
of the one that was painted over; a limb that was never there leaves the result as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from metrics.contract import Image
from metrics.figure.body import shows_legs
from metrics.figure.figure import ARMS, LEGS, Figure, Floats, Mask
from metrics.figure.looks import People, Reading, mirrored, smaller
from metrics.preprocess import Box, analysis_picture, detector_picture, square_crop

if TYPE_CHECKING:
    from metrics.detectors.mediapipe import Hand, Person

_TORSO = [11, 12, 23, 24]

# In lengths of the torso: the painted strip begins beyond the elbow or knee, so that the rest of
# the limb stays, reaches over the hand or foot, and is as wide as a sleeve.
_BEGIN, _BEYOND, _WIDTH = 0.12, 0.28, 0.3
_SCALES = (4, 8, 16, 32, 64)
"""Radii in pixels of the blurs that fill a painted strip, each where the smaller has no ground."""
_KNOWN = 0.08
"""Least share of unpainted pixels in a blur's window."""
_HAND_REACH, _HAND_AHEAD = 0.45, 0.12
"""Half the side of a hand's crop, and its middle's distance beyond the wrist, in torso lengths."""
HAND_SIDE = 224
"""Side in pixels of a hand's crop: two of them beside each other are as wide as the hand
landmarker's usual pictures."""


@dataclass(frozen=True)
class SecondLook:
    """The main figure and what the networks read of it when they look again.

    `shape` is the height and width of the picture that was read. `mirrored` is the same figure read
    in the mirror image, None where none was read. `repainted` holds, by the last joint of each
    lower limb that was painted over (wrists 15 and 16, ankles 27 and 28), the figure that was read
    then, None where none was. `hands` are the hands found close to the wrists.
    """

    person: Person
    shape: tuple[int, int]
    mirrored: Person | None
    repainted: dict[int, Person | None]
    hands: tuple[Hand, ...]

    @property
    def torso(self) -> float:
        """Length of the torso in pixels."""
        return torso_length(self.person.joints * self.size)

    @property
    def size(self) -> Floats:
        """Width and height, to turn shares into pixels."""
        return np.array([self.shape[1], self.shape[0]], np.float32)


def torso_length(joints: Floats) -> float:
    """Return the length of the torso in pixels, from joints (33, 2) in pixels.

    The spine shortens when bent, the shoulders when turned: the longer of the two counts.
    """
    spine = float(np.linalg.norm(joints[11:13].mean(axis=0) - joints[23:25].mean(axis=0)))
    return max(spine, 1.3 * float(np.linalg.norm(joints[11] - joints[12])), 8.0)


def look_again(
    reading: Reading,
    figure: Figure,
    pose: Callable[[Image], People],
    hands: Callable[[Image], tuple[Hand, ...]],
) -> SecondLook:
    """Read the main figure of `reading` again, in the same way, with the two landmarkers.

    Each forearm is painted over in a picture of its own, both shins in one.
    """
    picture, person = detector_picture(reading.picture), reading.people[0]
    read = partial(reading.look, pose)
    # A figure that the landmarker misses in the mirror image is often found smaller there.
    again = mirrored(read, picture) or mirrored(partial(smaller, pose), picture)
    repainted: dict[int, Person | None] = {}
    for limbs in _lower_limbs(figure):
        changed = same_figure(read(painted_over(picture, person, limbs)), person)
        repainted |= dict.fromkeys((end for _, end in limbs), changed)
    shape = (picture.shape[0], picture.shape[1])
    boxes = hand_boxes(person, shape)
    close = hands(side_by_side(picture, boxes)) if boxes else ()
    at_wrists = tuple(hand_from(hand, boxes, shape) for hand in close)
    return SecondLook(person, shape, same_figure(again, person), repainted, at_wrists)


def _lower_limbs(figure: Figure) -> list[list[tuple[int, int]]]:
    """Return the lower limbs to paint over, those of one picture together."""
    arms = [[(elbow, wrist)] for _, elbow, wrist in ARMS if figure.in_frame(elbow)]
    legs = [leg[1:3] for leg in LEGS if shows_legs(figure) and figure.in_frame(leg[1])]
    return [*arms, legs] if legs else arms


def same_figure(people: tuple[Person, ...], person: Person) -> Person | None:
    """Return the figure whose torso lies nearest to that of `person`; None if there are none."""
    middle = person.joints[_TORSO].mean(axis=0)
    gaps = [float(np.linalg.norm(each.joints[_TORSO].mean(axis=0) - middle)) for each in people]
    return people[int(np.argmin(gaps))] if people else None


def painted_over(image: Image, person: Person, limbs: Sequence[tuple[int, int]]) -> Image:
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
    reach = _SCALES[-1]
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
    kept = (1 - hole).astype(np.float32)
    colours = image * kept[..., None]
    filled: Floats = np.zeros(image.shape, np.float32)
    known = np.zeros(hole.shape, bool)
    for radius in _SCALES:
        window = (2 * radius + 1, 2 * radius + 1)
        share = cv2.blur(kept, window)
        mean = cv2.blur(colours, window) / np.maximum(share, 1e-3)[..., None]
        filled = np.where(known[..., None], filled, mean).astype(np.float32)
        known |= share > _KNOWN
    return filled


def hand_boxes(person: Person, shape: tuple[int, int]) -> list[Box]:
    """Return the boxes around the hands whose wrists lie in a picture of `shape` (H, W)."""
    size = np.array([shape[1], shape[0]], np.float32)
    torso = torso_length(person.joints * size)
    boxes = []
    for _, elbow, wrist in ARMS:
        place = person.joints[wrist]
        if (place >= 0).all() and (place < 1).all():
            step = (place - person.joints[elbow]) * size
            step = step / max(1e-6, float(np.linalg.norm(step)))
            middle = place * size + _HAND_AHEAD * torso * step
            corners = (middle - _HAND_REACH * torso) / size, (middle + _HAND_REACH * torso) / size
            (left, top), (right, bottom) = corners
            boxes.append((float(left), float(top), float(right), float(bottom)))
    return boxes


def side_by_side(image: Image, boxes: Sequence[Box]) -> Image:
    """Return the squares of the boxes, each HAND_SIDE pixels wide, from left to right."""
    crops = [square_crop(image, box, margin=0.0) for box in boxes]
    return np.hstack([analysis_picture(crop, HAND_SIDE) for crop in crops])


def hand_from(hand: Hand, boxes: Sequence[Box], shape: tuple[int, int]) -> Hand:
    """Return a hand found in the picture of `side_by_side` as it lies in the picture itself.

    `shape` is the height and width of the picture itself.
    """
    across = hand.joints * np.array([len(boxes), 1], np.float32)
    place = int(np.clip(across[0, 0], 0, len(boxes) - 1))
    left, top, right, bottom = boxes[place]
    size = np.array([shape[1], shape[0]], np.float32)
    side = max((right - left) * size[0], (bottom - top) * size[1])
    middle = np.array([(left + right) / 2, (top + bottom) / 2], np.float32) * size
    pixels = (across - (place, 0) - 0.5) * side + middle
    return replace(hand, joints=np.asarray(pixels / size, np.float32))
