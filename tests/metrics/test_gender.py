from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metrics import gender, open_detectors
from metrics.contract import Image, JudgeSettings, Sample
from metrics.evidence import Evidence
from tuner import mannequin

Evidences = Callable[[Image], Evidence]


def test_the_two_sexes_are_asked_in_the_same_words() -> None:
    female, male = gender.GROUPS["female"], gender.GROUPS["male"]
    assert len(female) == len(male)
    swapped = [text.replace("woman", "man").replace("female", "male") for text in female]
    assert [text.replace("girl", "boy") for text in swapped] == list(male)


def test_what_speaks_for_one_sex_speaks_against_the_other(
    evidence: Evidences,
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gender, "MIN_MARGIN", 0.0)  # random weights are never sure
    (image,) = rendered(1, 3)
    seen = evidence(image)
    female = gender.score(sampled(image, sex="female"), seen).value
    male = gender.score(sampled(image, sex="male"), seen).value
    assert female is not None
    assert male is not None
    assert female + male == pytest.approx(1.0)


def test_abstentions_say_why(
    evidence: Evidences,
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gender, "MIN_MARGIN", 0.999)
    (image,) = rendered(1, 3)
    empty = np.full((64, 64, 3), 90, np.uint8)
    reasons = [
        gender.score(sampled(image), evidence(image)).reason,
        gender.score(sampled(empty, sex="male"), evidence(empty)).reason,
        gender.score(sampled(image, sex="male"), evidence(image)).reason,
    ]
    assert reasons == ["the prompt names no sex", "no figure found", "the figure's sex is unclear"]


def test_without_a_model_nobody_s_sex_is_judged(
    rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    (image,) = rendered(1, 3)
    sample = sampled(image, sex="male")
    with open_detectors(JudgeSettings(gender_model=None)) as detectors:
        score = gender.score(sample, Evidence(sample, detectors))
    assert (score.value, score.reason) == (None, "no gender model set")


def test_a_model_too_sure_of_itself_is_held_to_a_wider_margin(
    rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    (image,) = rendered(1, 3)
    sample = sampled(image, sex="female")
    reasons = []
    for margin in (0.0, 1.0):
        settings = JudgeSettings(gender_model=str(mannequin.CLIP), sex_margin=margin)
        with open_detectors(settings) as detectors:
            reasons.append(gender.score(sample, Evidence(sample, detectors)).reason)
    assert reasons == [None, "the figure's sex is unclear"]
