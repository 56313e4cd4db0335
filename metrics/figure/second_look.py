"""The main figure read again in the mirror image.

A pose network draws one valid human, whatever it sees. On a sound figure it draws the same human
when the picture is mirrored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from metrics.contract import Image
from metrics.figure.figure import Floats
from metrics.figure.looks import People, Reading, mirrored, smaller
from metrics.preprocess import detector_picture

if TYPE_CHECKING:
    from metrics.detectors.mediapipe import Person

_TORSO = [11, 12, 23, 24]


@dataclass(frozen=True)
class SecondLook:
    """The main figure and what the landmarker reads of it in the mirror image.

    `shape` is the height and width of the picture that was read. `mirrored` is the same figure read
    in the mirror image, None where none was read.
    """

    person: Person
    shape: tuple[int, int]
    mirrored: Person | None

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


def look_again(reading: Reading, pose: Callable[[Image], People]) -> SecondLook:
    """Read the main figure of `reading` again in the mirror image, in the same way."""
    picture, person = detector_picture(reading.picture), reading.people[0]
    # A figure that the landmarker misses in the mirror image is often found smaller there.
    again = mirrored(partial(reading.look, pose), picture)
    again = again or mirrored(partial(smaller, pose), picture)
    return SecondLook(person, (picture.shape[0], picture.shape[1]), same_figure(again, person))


def same_figure(people: tuple[Person, ...], person: Person) -> Person | None:
    """Return the figure whose torso lies nearest to that of `person`; None if there are none."""
    middle = person.joints[_TORSO].mean(axis=0)
    gaps = [float(np.linalg.norm(each.joints[_TORSO].mean(axis=0) - middle)) for each in people]
    return people[int(np.argmin(gaps))] if people else None
