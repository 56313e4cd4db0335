from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from metrics.contract import Image
from metrics.evidence import Evidence
from metrics.figure.body import Body, read_body
from metrics.figure.figure import LEGS
from metrics.figure.own_limbs import lacking_limbs


@pytest.fixture
def bodies(
    evidence: Callable[[Image], Evidence], rendered: Callable[..., list[Image]]
) -> Callable[..., list[Body]]:
    def read(**fixed: object) -> list[Body]:
        images = rendered(6, 610, framing="full", ground="plain", **fixed)
        found = [evidence(image).body for image in images]
        return [body for body in found if body is not None]

    return read


def test_sound_limbs_lack_little(bodies: Callable[..., list[Body]]) -> None:
    measured = [lacking_limbs(body) for body in bodies(arm_pose="t-pose")]
    assert len(measured) >= 5
    assert np.median([one["arm_lacking"] for one in measured]) < 0.2
    assert np.median([one["leg_lacking"] for one in measured]) < 0.35
    assert max(one["leg_bent"] for one in measured) < 0.2


def test_a_leg_over_the_other_one_is_none_of_its_own(bodies: Callable[..., list[Body]]) -> None:
    for body in bodies():
        figure = body.figure
        joints = figure.joints.copy()
        joints[list(LEGS[0])] = joints[list(LEGS[1])]
        folded = lacking_limbs(read_body(replace(figure, joints=joints)))
        assert folded["leg_lacking"] == pytest.approx(1.0, abs=1e-3)
        assert folded["leg_short"] == pytest.approx(0.0, abs=1e-3)


def test_a_leg_folded_up_is_bent(bodies: Callable[..., list[Body]]) -> None:
    for body in bodies():
        hip, _, ankle, _ = LEGS[0]
        joints = body.figure.joints.copy()
        joints[ankle] = joints[hip]
        folded = lacking_limbs(read_body(replace(body.figure, joints=joints)))
        assert folded["leg_bent"] == pytest.approx(1.0, abs=1e-3)


def test_an_arm_in_the_air_lacks_flesh(bodies: Callable[..., list[Body]]) -> None:
    for body in bodies(arm_pose="arms at sides"):
        figure = body.figure
        joints = figure.joints.copy()
        joints[[13, 15]] = joints[11] + np.array([[1.1, -0.2], [2.2, -0.4]]) * figure.unit
        assert lacking_limbs(read_body(replace(figure, joints=joints)))["arm_lacking"] > 0.6


def test_what_the_frame_does_not_show_lacks_nothing(
    evidence: Callable[[Image], Evidence], rendered: Callable[..., list[Image]]
) -> None:
    (image,) = rendered(1, 400, framing="half", arm_pose="hands on hips", ground="plain")
    body = evidence(image).body
    assert body is not None
    measured = lacking_limbs(replace(body, shows_legs=False))
    assert (measured["leg_lacking"], measured["leg_bent"], measured["leg_short"]) == (0, 0, 0)
