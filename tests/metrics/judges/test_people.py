from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from metrics.contract import Sample
from metrics.detectors import Detectors
from metrics.detectors.yolo import PersonBox
from metrics.evidence import Evidence
from metrics.judges import people

IMAGE = np.zeros((8, 8, 3), np.uint8)
WHERE = (0.1, 0.1, 0.4, 0.9)


def detected(sample: Sample, *confidences: float) -> Evidence:
    found = tuple(PersonBox(WHERE, confidence) for confidence in confidences)
    detectors: Any = SimpleNamespace(persons=lambda image: found)
    return Evidence(sample, cast(Detectors, detectors))


@pytest.mark.parametrize(
    ("sure", "value"), [([0.9], 1.0), ([0.9, 0.7], 0.0), ([0.7] * 4, 0.0), ([0.9, 0.5], 1.0)]
)
def test_exactly_one_person_is_right_but_for_doubtful_others(
    sampled: Callable[..., Sample], sure: list[float], value: float
) -> None:
    sample = sampled(IMAGE, sex="female")
    score = people.score(sample, detected(sample, *sure))
    assert score.value == value
    assert score.evidence == {"persons": len(sure), "confidence": sure}


def test_a_missing_figure_is_not_for_this_judge_to_tell(sampled: Callable[..., Sample]) -> None:
    sample = sampled(IMAGE, sex="male")
    score = people.score(sample, detected(sample))
    assert (score.value, score.reason) == (None, "no person found")


def test_without_a_detector_nothing_is_counted(
    sampled: Callable[..., Sample], detectors: Detectors
) -> None:
    sample = sampled(IMAGE, sex="male")
    assert detectors.settings.person_model is None
    score = people.score(sample, Evidence(sample, detectors))
    assert (score.value, score.reason) == (None, "no person detector set")


def test_a_prompt_that_asks_for_nobody_is_not_judged(sampled: Callable[..., Sample]) -> None:
    sample = sampled(IMAGE, text="two people")
    score = people.score(sample, detected(sample, 0.9, 0.9))
    assert (score.value, score.reason) == (None, "the prompt asks for nobody")


def test_the_detector_looks_once_at_a_sample(sampled: Callable[..., Sample]) -> None:
    looked = []

    def look(image: object) -> tuple[PersonBox, ...]:
        looked.append(image)
        return (PersonBox(WHERE, 0.9),)

    sample = sampled(IMAGE, sex="female")
    evidence = Evidence(sample, cast(Detectors, SimpleNamespace(persons=look)))
    assert [people.score(sample, evidence).value for _ in range(2)] == [1.0, 1.0]
    assert len(looked) == 1
