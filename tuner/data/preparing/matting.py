"""A person on plain ground, cut out with the segmentation mask of MediaPipe's pose."""

from __future__ import annotations

import numpy as np

from metrics.contract import Image
from metrics.detectors.mediapipe import Person
from metrics.preprocess import Box, overlap, resized_mask

_LOW, _HIGH = 0.25, 0.75  # of the mask: ground below, figure above

_SAME_PERSON = 0.2  # intersection over union


def on_plain_ground(image: Image, person: Person, colour: tuple[int, int, int]) -> Image:
    """Paint everything but the person in one colour, with edges as soft as the mask's."""
    height, width = image.shape[:2]
    mask = resized_mask(person.mask, height, width)
    sure = np.clip((mask - _LOW) / (_HIGH - _LOW), 0.0, 1.0)
    alpha = (sure**2 * (3 - 2 * sure))[..., None]
    mixed = alpha * image + (1 - alpha) * np.array(colour, np.float32)
    return np.asarray(np.round(mixed), np.uint8)


def best_match(people: tuple[Person, ...], box: Box) -> Person | None:
    """Return the person whose box overlaps `box` most (shares of one picture), or None.

    The boxes of a body and of its head alone still overlap enough, those of neighbours do not.
    """
    overlaps = [(overlap(person.box, box), index) for index, person in enumerate(people)]
    share, index = max(overlaps, default=(0.0, 0))
    return people[index] if share >= _SAME_PERSON else None
