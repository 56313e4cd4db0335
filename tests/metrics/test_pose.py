from __future__ import annotations

from collections.abc import Callable

import numpy as np

from metrics import pose
from metrics.contract import Image, Sample
from metrics.evidence import Evidence

Evidences = Callable[[Image], Evidence]


def test_sound_renders_are_read(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    images = rendered(50, seed=1)
    values = [pose.score(sampled(image), evidence(image)).value for image in images]
    assert np.mean([value == 1.0 for value in values]) >= 0.98


def test_an_empty_ground_is_a_failure_when_a_person_was_asked_for(
    evidence: Evidences, sampled: Callable[..., Sample]
) -> None:
    image = np.full((64, 64, 3), 120, np.uint8)
    assert pose.score(sampled(image), evidence(image)).value == 0.0
    assert pose.score(sampled(image, text=""), evidence(image)).value is None


def test_the_stick_figure_stands_upright_in_the_picture(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    image = rendered(1, seed=1, framing="full")[0]
    joints = np.reshape(pose.score(sampled(image), evidence(image)).evidence["joints"], (-1, 2))
    assert len(joints) == 13
    nose, shoulders, hips, ankles = joints[0], joints[1:3], joints[7:9], joints[11:13]
    heights = [nose[1], shoulders[:, 1].mean(), hips[:, 1].mean(), ankles[:, 1].mean()]
    assert heights == sorted(heights)
    assert 0 < heights[0] < heights[-1] < 1.05
