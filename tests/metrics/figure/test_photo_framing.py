from __future__ import annotations

import numpy as np
import pytest

from metrics.contract import FramingClass, Image
from metrics.detectors.mediapipe import Person
from metrics.figure.photo_framing import photo_framing_class

IMAGE: Image = np.zeros((100, 80, 3), np.uint8)
PLACES = {(11, 12): 0.3, (23, 24): 0.6, (25, 26): 0.8, (27, 28): 0.9}


def standing(scale: float = 1.0, legs: float = 1.0, **visibility: float) -> Person:
    """A person whose height is scaled about the shoulders, and its legs about the hips."""
    joints = np.full((33, 2), 0.5, np.float32)
    sure = np.ones(33, np.float32)
    for pair, y in PLACES.items():
        for joint, x in zip(pair, (0.6, 0.4), strict=True):
            y_scaled = min(y, 0.6) + legs * max(0.0, y - 0.6)
            joints[joint] = x, 0.3 + scale * (y_scaled - 0.3)
    sure[25:27] = visibility.get("knees", 1.0)
    sure[27:29] = visibility.get("ankles", 1.0)
    return Person(joints, sure, np.zeros((150, 120), np.float32))


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        (standing(), "full"),
        (standing(ankles=0.1), "knee-up"),
        (standing(1.2), "half"),  # too little is shown below the knees
        (standing(ankles=0.1, knees=0.1), "half"),
        (standing(1.36), "half"),  # the knees at 0.98 are guessed: there is nothing below them
        (standing(2.0), "half"),
        (standing(6.0), "portrait"),
        (standing(legs=0.8), "knee-up"),  # too short for a leg, long enough for a thigh
        (standing(legs=0.4), "half"),  # legs behind a table are guessed
    ],
)
def test_the_lowest_part_that_is_surely_shown_gives_the_class(
    person: Person, expected: FramingClass
) -> None:
    assert photo_framing_class(person, IMAGE) == expected
