from __future__ import annotations

import numpy as np
import pytest

from metrics.figure.figure import Figure, arm_region, bone_support
from metrics.figure.region import joined_to_torso

SIDE = 40


def standing(torso_colour: tuple[int, int, int] = (200, 30, 30)) -> Figure:
    """A torso in the middle, a green left arm right in front of it, and a head above."""
    joints = np.full((33, 2), 20.0, np.float32)
    joints[0] = (20, 4)
    joints[[11, 12, 23, 24]] = [(26, 12), (14, 12), (26, 28), (14, 28)]
    joints[[13, 15]] = [(20, 16), (20, 24)]
    picture = np.full((SIDE, SIDE, 3), 128, np.uint8)
    picture[12:29, 14:27] = torso_colour
    picture[14:27, 19:22] = (30, 160, 30)
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[0:29, 14:27] = 1.0
    return Figure(picture, joints, np.ones(33, np.float32), mask, 8.0)


def test_a_part_that_does_not_touch_the_torso_is_left_out() -> None:
    region = np.zeros((SIDE, SIDE), np.uint8)
    region[12:29, 14:27] = 1
    attached, apart = region.copy(), region.copy()
    attached[15:18, 27:36] = 1
    apart[15:18, 30:36] = 1
    assert (joined_to_torso(standing(), attached) == attached).all()
    assert (joined_to_torso(standing(), apart) == region).all()


def test_a_region_beside_the_torso_is_kept_whole() -> None:
    region = np.zeros((SIDE, SIDE), np.uint8)
    region[2:5, 2:5] = 1
    assert (joined_to_torso(standing(), region) == region).all()


def test_an_arm_in_front_of_the_torso_shows_by_its_colour() -> None:
    figure = standing()
    shown = arm_region(figure, figure.mask)
    assert bone_support(figure, shown, (13, 15), (0.0, 0.9)) == 1.0
    assert not shown[20, 16]
    assert not shown[4, 20], "the head is no arm"
    alike = standing(torso_colour=(30, 160, 30))
    assert bone_support(alike, arm_region(alike, alike.mask), (13, 15), (0.0, 0.9)) == 0.0


@pytest.mark.parametrize(("wrist", "known"), [((36.0, 16.0), True), ((400.0, 16.0), False)])
def test_a_bone_outside_the_frame_says_nothing(wrist: tuple[float, float], known: bool) -> None:
    figure = standing()
    figure.joints[15] = wrist
    assert (bone_support(figure, figure.mask, (13, 15), (0.2, 1.0)) is not None) is known
