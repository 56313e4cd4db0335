from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metrics.contract import Image, Sample
from metrics.evidence import Evidence
from metrics.judges import pose
from metrics.logistic import read_logistic
from metrics.preprocess import analysis_picture
from tuner.mannequin import draw
from tuner.mannequin.render import random_figure
from tuner.mannequin.unreadable import KINDS, unreadable

Evidences = Callable[[Image], Evidence]


def test_sound_renders_are_read(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    images = rendered(12, seed=1)
    values = [pose.score(sampled(image), evidence(image)).value for image in images]
    assert np.mean([value is not None and value >= 0.8 for value in values]) >= 0.96
    assert np.mean(values) >= 0.93


@pytest.mark.parametrize("framing", ["full", "half"])
def test_a_frame_that_shows_less_is_not_held_against_a_figure(
    framing: str, evidence: Evidences, rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
) -> None:  # fmt: skip
    values = [
        pose.score(sampled(image), evidence(image)).value
        for image in rendered(8, seed=2, framing=framing)
    ]
    assert np.mean(values) >= 0.9


def test_a_portrait_is_readable(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    values = []
    for image in rendered(8, seed=3, framing="half", arm_pose="arms at sides"):
        portrait = analysis_picture(image[2:40, 13:51], 64)  # head and shoulders
        values.append(pose.score(sampled(portrait), evidence(portrait)).value)
    assert np.mean(np.array(values) >= 0.5) >= 0.85


def test_a_figure_made_unreadable_is_read_less_than_a_sound_one(
    evidence: Evidences, sampled: Callable[..., Sample]
) -> None:
    rng = np.random.default_rng(4)
    figures = [random_figure(rng) for _ in range(3)]

    def mean(images: list[Image]) -> float:
        found = [pose.score(sampled(image), evidence(image)).value for image in images]
        return float(np.mean([value for value in found if value is not None]))

    sound = mean([draw(figure) for figure in figures])
    for kind in sorted(KINDS):
        spoilt = mean([unreadable(figure, 64, kind, 1.0) for figure in figures])
        assert spoilt < sound - 0.35, kind


def test_what_was_measured_is_kept(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    image = rendered(1, seed=1)[0]
    found = pose.score(sampled(image), evidence(image))
    measured = {name: found.evidence[name] for name in read_logistic("pose").features}
    assert pose.readable(measured) == found.value


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
