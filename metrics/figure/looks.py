"""Ways to look at a picture with the pose landmarker: as it is, smaller in a border, mirrored.

The landmarker misses figures that fill the frame, and some that it reads in the mirror image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from metrics.contract import Image
from metrics.figure.figure import Floats
from metrics.preprocess import analysis_picture, detector_picture

if TYPE_CHECKING:
    from metrics.detectors.mediapipe import Person

People = tuple["Person", ...]
Look = Callable[[Callable[[Image], People], Image], People]
"""A function of the landmarker and a picture that returns the figures as they lie in it."""

_PAIRS = ((1, 4), (2, 5), (3, 6), (7, 8), (9, 10), *((i, i + 1) for i in range(11, 33, 2)))
_BORDER = 1 / 4
"""Width of the border as a share of the side. Of 16 people that the landmarker missed it then reads
14, and sees 2 figures in 24 pictures of nobody; with a third 10 and 4, with a fifth 6 and 2. A grey
border gives half as many."""


SOFT_SIDE = 64
"""Longest side, in pixels, of the softened picture, at which flat drawings are read best."""


@dataclass(frozen=True)
class Reading:
    """The figures of a picture, largest mask first, and how they were read in which picture."""

    people: People
    picture: Image
    look: Look


def plain(read: Callable[[Image], People], picture: Image) -> People:
    """Read the figures of a picture as it is."""
    return read(picture)


def smaller(read: Callable[[Image], People], picture: Image) -> People:
    """Read the figures with the picture's rim drawn out to a border on each side."""
    height, width = picture.shape[:2]
    down, across = round(_BORDER * height), round(_BORDER * width)
    sides = (down, down, across, across)
    people = read(np.asarray(cv2.copyMakeBorder(picture, *sides, cv2.BORDER_REPLICATE), np.uint8))
    return tuple(_without_border(person, (down, across), (height, width)) for person in people)


def mirrored(read: Callable[[Image], People], picture: Image) -> People:
    """Read the figures in the mirror image, and return them as they lie in the picture."""
    return tuple(map(_unmirrored, read(np.asarray(cv2.flip(picture, 1), np.uint8))))


View = tuple[Look, int | None]
"""A way to look, and the longest side to which the picture is scaled; None: as it is."""
DRAWN_VIEWS: tuple[View, ...] = ((plain, None), (plain, SOFT_SIDE))
PHOTO_VIEWS: tuple[View, ...] = ((plain, None), (smaller, None), (mirrored, None))
"""Softened photographs show no figure that these miss, and five where nobody is."""


def read_people(
    pose: Callable[[Image], People],
    image: Image,
    views: Sequence[View],
    is_whole: Callable[[Person], bool],
) -> Reading:
    """Return the first view's reading with a whole figure, else with any figure, else the first.

    Drawings with hard edges are sometimes read only after softening: without it the landmarker
    finds nobody, or takes a part of the figure, such as an arm, for all of it.
    """
    views = [view for view in views if view[1] is None or max(image.shape[:2]) > view[1]]
    readings: list[Reading] = []
    for look, side in views:
        picture = detector_picture(image) if side is None else analysis_picture(image, side)
        people = tuple(sorted(look(pose, picture), key=_mask_size, reverse=True))
        readings.append(Reading(people, picture, look))
        if people and (len(views) == 1 or is_whole(people[0])):
            return readings[-1]
    return next((reading for reading in readings if reading.people), readings[0])


def _mask_size(person: Person) -> float:
    return float(person.mask.sum())


def _unmirrored(person: Person) -> Person:
    swapped = np.arange(33)
    for left, right in _PAIRS:
        swapped[[left, right]] = right, left
    joints = person.joints[swapped].copy()
    joints[:, 0] = 1.0 - joints[:, 0]
    mask = np.ascontiguousarray(person.mask[:, ::-1])
    return replace(person, joints=joints, visibility=person.visibility[swapped], mask=mask)


def _without_border(person: Person, border: tuple[int, int], shape: tuple[int, int]) -> Person:
    """Return a figure of the picture with a border, in shares of the picture without it.

    `border` is its height and width on a side, `shape` the height and width without it, in pixels.
    """
    (down, across), (height, width) = border, shape
    whole = np.array([width + 2 * across, height + 2 * down], np.float32)
    inner: Floats = (person.joints * whole - (across, down)) / np.array([width, height])
    rows, columns = person.mask.shape
    top, left = round(rows * down / whole[1]), round(columns * across / whole[0])
    mask = person.mask[top : rows - top, left : columns - left]
    return replace(person, joints=np.asarray(inner, np.float32), mask=np.ascontiguousarray(mask))
