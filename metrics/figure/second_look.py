"""The main figure read again: mirrored, with a limb painted over, and with a closer look at hands.

A pose network draws one valid human, whatever it sees. On a sound figure it draws the same human
when the picture is mirrored, and loses a limb that was painted over. A surplus limb takes the place
of the one that was painted over; a limb that was never there leaves the result as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Image
from metrics.figure.figure import Floats, Mask
from metrics.preprocess import Box

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
_HAND_REACH, _HAND_AHEAD = 0.6, 0.15
"""Half the side of a hand's crop, and its middle's distance beyond the wrist, in torso lengths."""
CROP_SIDE = 224
"""Least side in pixels of a hand's crop: the palm detector reads 192."""


@dataclass(frozen=True)
class SecondLook:
    """The main figure and what the networks read of it when they look again.

    `shape` is the height and width of the picture that was read. `mirrored` is the same figure read
    in the mirror image, None where none was read. `repainted` holds, by the last joint of each
    lower limb that was painted over (wrists 15 and 16, ankles 27 and 28), the figure that was read
    then, None where none was. `hands` are all hands found, in the picture and close to the wrists.
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


def same_figure(people: tuple[Person, ...], person: Person) -> Person | None:
    """Return the figure whose torso lies nearest to that of `person`; None if there are none."""
    middle = person.joints[_TORSO].mean(axis=0)
    gaps = [float(np.linalg.norm(each.joints[_TORSO].mean(axis=0) - middle)) for each in people]
    return people[int(np.argmin(gaps))] if people else None


def painted_over(image: Image, person: Person, limb: tuple[int, int]) -> Image:
    """Return the picture with a lower limb, from `limb[0]` to `limb[1]`, in its surroundings' blur.

    The limb's own pixels do not enter the blur, so that no outline of it remains.
    """
    height, width = image.shape[:2]
    joints = person.joints * np.array([width, height], np.float32)
    torso, (start, end) = torso_length(joints), joints[list(limb)]
    onward = (end - start) / max(1e-6, float(np.linalg.norm(end - start)))
    points = [start + _BEGIN * torso * onward, end + _BEYOND * torso * onward]
    hole: Mask = np.zeros((height, width), np.uint8)
    line = np.round(np.array(points)).astype(np.int32)
    cv2.polylines(hole, [line], False, (1,), max(3, round(_WIDTH * torso)))
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


def hand_box(person: Person, shape: tuple[int, int], arm: tuple[int, int]) -> Box | None:
    """Return the box around the hand of an arm (elbow, wrist); None if its wrist is off the frame.

    `shape` is the picture's height and width.
    """
    elbow, wrist = person.joints[list(arm)]
    if not (0 <= wrist[0] < 1 and 0 <= wrist[1] < 1):
        return None
    size = np.array([shape[1], shape[0]], np.float32)
    torso = torso_length(person.joints * size)
    step = (wrist - elbow) * size
    step = step / max(1e-6, float(np.linalg.norm(step)))
    middle = wrist * size + _HAND_AHEAD * torso * step
    corners = (middle - _HAND_REACH * torso) / size, (middle + _HAND_REACH * torso) / size
    (left, top), (right, bottom) = corners
    return float(left), float(top), float(right), float(bottom)


def hand_in_picture(hand: Hand, box: Box, shape: tuple[int, int], side: int) -> Hand:
    """Return a hand found in the square crop of `box` (`side` pixels wide) in the picture's shares.

    `metrics.preprocess.square_crop` with no margin centres its square on the box.
    """
    size = np.array([shape[1], shape[0]], np.float32)
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], np.float32) * size
    pixels: npt.NDArray[np.float32] = (hand.joints - 0.5) * np.float32(side) + middle
    return replace(hand, joints=np.asarray(pixels / size, np.float32))
