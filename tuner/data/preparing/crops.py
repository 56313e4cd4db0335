"""The square to cut around a body or a face, and other persons in it.

Plain geometry, in pixels of the upright picture; y points down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metrics.contract import Image
from metrics.detectors.mediapipe import Person
from metrics.preprocess import Box

BODY_MARGIN = 0.15
"""Margin around a body on each side, as a share of its longer side."""

_IN_VIEW = 0.15
"""Share of another person's box inside a crop from which they count as visible."""

_NOSE, _EYES, _EARS, _MOUTH = 0, (2, 5), (7, 8), (9, 10)
_EYES_TO_MOUTH, _EAR_TO_EAR = 0.3, 0.65  # of a head's height, on a face seen from the front
_FACE_SIDE = 1.9  # heads: face, hair and the beginning of the shoulders
_HEAD_BELOW_TOP = 0.1
_VISIBLE = 0.5


@dataclass(frozen=True)
class Square:
    """A square in whole pixels; it may reach outside the picture."""

    left: int
    top: int
    side: int

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.left + self.side, self.top + self.side


def body_square(box: Box, width: int, height: int) -> Square:
    """Return the square around a person's box, moved into a picture of that size if possible.

    The margin shrinks if only the margin would leave the picture.
    """
    left, top, right, bottom = in_pixels(box, width, height)
    longest = max(right - left, bottom - top)
    side = max(longest, min(longest * (1 + 2 * BODY_MARGIN), width, height))
    return _placed((left + right) / 2, (top + bottom) / 2, side, (width, height))


def face_square(person: Person, width: int, height: int) -> Square | None:
    """Return the square around a head in a picture of that size; None without a visible face."""
    if person.visibility[_NOSE] < _VISIBLE or not (person.joints[_NOSE] >= 0).all():
        return None
    if (person.joints[_NOSE] > 1).any():
        return None
    joints = person.joints * np.array([width, height], np.float32)
    eyes, mouth = joints[list(_EYES)].mean(axis=0), joints[list(_MOUTH)].mean(axis=0)
    ears = float(np.linalg.norm(joints[_EARS[0]] - joints[_EARS[1]]))
    # In profile the ears are too close, from above the mouth is: the larger estimate is right.
    head = max(float(np.linalg.norm(mouth - eyes)) / _EYES_TO_MOUTH, ears / _EAR_TO_EAR)
    x, y = eyes + 0.2 * (mouth - eyes)
    return _placed(float(x), float(y), _FACE_SIDE * head, (width, height))


def in_view(box: Box, square: Square, width: int, height: int) -> bool:
    """Return True if a crop shows enough of the person in the box to count them."""
    left, top, right, bottom = in_pixels(box, width, height)
    x0, y0, x1, y1 = square.corners
    inside = max(0.0, min(right, x1) - max(left, x0)) * max(0.0, min(bottom, y1) - max(top, y0))
    return inside >= _IN_VIEW * max(1.0, (right - left) * (bottom - top))


def head_in_view(box: Box, square: Square, width: int, height: int) -> bool:
    """Return True if the head, at the top middle of a person's box, lies in the square."""
    left, top, right, bottom = in_pixels(box, width, height)
    x, y = (left + right) / 2, top + _HEAD_BELOW_TOP * (bottom - top)
    x0, y0, x1, y1 = square.corners
    return x0 <= x <= x1 and y0 <= y <= y1


def head_box(face: Square, width: int, height: int) -> Box:
    """Return the box of the head in its face square, as shares of a picture of that size."""
    x0, y0, x1, y1 = face.corners
    edge = face.side * (1 - 1 / _FACE_SIDE) / 2
    return (x0 + edge) / width, (y0 + edge) / height, (x1 - edge) / width, (y1 - edge) / height


def faces_in_view(people: tuple[Person, ...], square: Square, width: int, height: int) -> int:
    """Count the detected people of a picture of that size whose nose is in the square."""
    x0, y0, x1, y1 = square.corners
    noses = [person.joints[_NOSE] * (width, height) for person in people]
    return sum(bool(x0 <= x <= x1 and y0 <= y <= y1) for x, y in noses)


def inner(image: Image, square: Square) -> Image:
    """Return the part of the square that lies in the picture."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = square.corners
    return image[max(0, y0) : min(height, y1), max(0, x0) : min(width, x1)]


def cut(image: Image, square: Square) -> tuple[Image, float]:
    """Cut out the square; return it and the share of it outside the picture.

    The part outside has the median colour of the inner part's edge.
    """
    inside = inner(image, square)
    edge = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    crop: Image = np.empty((square.side, square.side, 3), np.uint8)
    crop[:] = np.median(edge, axis=0).astype(np.uint8)
    y, x = max(0, -square.top), max(0, -square.left)
    crop[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return crop, 1 - inside.shape[0] * inside.shape[1] / square.side**2


def in_pixels(box: Box, width: int, height: int) -> Box:
    """Convert a box of shares to pixels of a picture of that size."""
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


def within(box: Box, square: Square, width: int, height: int) -> Box:
    """Convert a box of shares of the picture to shares of the square."""
    left, top, right, bottom = in_pixels(box, width, height)
    return (
        (left - square.left) / square.side,
        (top - square.top) / square.side,
        (right - square.left) / square.side,
        (bottom - square.top) / square.side,
    )


def _placed(x: float, y: float, side: float, picture: tuple[int, int]) -> Square:
    whole = max(1, round(side))
    starts = []
    for middle, length in ((x, picture[0]), (y, picture[1])):
        start = round(middle - whole / 2)
        room = length - whole
        starts.append(min(max(start, 0), room) if room >= 0 else room // 2)
    return Square(starts[0], starts[1], whole)
