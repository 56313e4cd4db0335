from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metrics import limbs
from metrics.contract import Image, Sample
from metrics.evidence import Evidence

Evidences = Callable[[Image], Evidence]


@pytest.fixture
def values(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> Callable[..., np.ndarray]:
    def judge(count: int, seed: int, **fixed: Any) -> np.ndarray:
        images = rendered(count, seed, **fixed)
        scores = [limbs.score(sampled(image), evidence(image)) for image in images]
        return np.array([score.value for score in scores if score.value is not None])

    return judge


def area_under_curve(faulty: np.ndarray, sound: np.ndarray) -> float:
    below = (faulty[:, None] < sound[None]).mean()
    return float(below + 0.5 * (faulty[:, None] == sound[None]).mean())


def test_faulty_limbs_are_told_from_sound_ones(values: Callable[..., np.ndarray]) -> None:
    sound = values(80, seed=100)
    assert (sound < 0.5).mean() <= 0.05
    for fault in ("extra arm", "missing arm"):
        assert area_under_curve(values(40, seed=200, limbs=fault), sound) >= 0.9, fault


@pytest.mark.parametrize("fault", ["extra leg", "missing leg"])
def test_faulty_legs_are_found_where_the_frame_shows_them(
    fault: str, values: Callable[..., np.ndarray]
) -> None:
    sound = values(40, seed=300, framing="full")
    faulty = values(40, seed=301, framing="full", limbs=fault)
    assert area_under_curve(faulty, sound) >= 0.9


def test_legs_outside_the_frame_are_not_missing(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    images = rendered(30, 400, framing="half", arm_pose="hands on hips")
    scores = [limbs.score(sampled(image), evidence(image)) for image in images]
    assert not any(score.evidence.get("worst") == "missing leg" for score in scores if score.value)
    assert sum("leg_seen" in score.evidence for score in scores) <= 3


def test_no_pose_is_an_abstention(evidence: Evidences, sampled: Callable[..., Sample]) -> None:
    image = np.full((64, 64, 3), 120, np.uint8)
    score = limbs.score(sampled(image), evidence(image))
    assert score.value is None
    assert score.reason == "no pose read"


def test_the_same_picture_gets_the_same_score(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    (image,) = rendered(1, 5, limbs="extra arm", ground="cluttered")
    first, second = (limbs.score(sampled(image), evidence(image)) for _ in range(2))
    assert first == second
