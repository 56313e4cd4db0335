from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from skimage import data

from metrics import open_detectors
from metrics.contract import Image, JudgeSettings, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.judges import adult

Sampled = Callable[..., Sample]


@pytest.fixture(scope="module")
def photographic() -> Iterator[Detectors]:
    with open_detectors(JudgeSettings(gender_model=None)) as opened:
        yield opened


@pytest.fixture(scope="module")
def astronaut() -> Image:
    return np.asarray(data.astronaut()[:256, 96:352], np.uint8)


def test_an_adult_raises_no_alarm(
    astronaut: Image, photographic: Detectors, sampled: Sampled
) -> None:
    sample = sampled(astronaut)
    score = adult.photographic(sample, Evidence(sample, photographic))
    assert score.value is not None
    assert score.value > 0.8
    assert not adult.looks_under_age(score)
    assert score.evidence["faces"] == 1
    assert 20 < float(str(score.evidence["years"])) < 50


def test_a_face_below_the_age_raises_the_alarm(
    astronaut: Image, photographic: Detectors, sampled: Sampled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adult, "ADULT", 60)  # everyone below sixty is a child
    sample = sampled(astronaut)
    assert adult.looks_under_age(adult.photographic(sample, Evidence(sample, photographic)))


def test_abstentions_say_why(
    astronaut: Image, photographic: Detectors, sampled: Sampled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adult, "LEAST_SIDE", 1000.0)

    def reason(image: Image, **replaced: Any) -> str | None:
        sample = sampled(image)
        evidence = Evidence(sample, photographic)
        evidence.__dict__.update(replaced)
        return adult.photographic(sample, evidence).reason

    grey = np.full((64, 64, 3), 120, np.uint8)
    assert reason(grey) == "no face is seen"
    assert reason(astronaut) == "no face is large enough"
    sample = sampled(astronaut)
    assert (
        adult.drawn(sample, Evidence(sample, photographic)).reason == "only photographs are judged"
    )


def test_without_the_networks_nothing_is_judged_and_a_warning_says_so(
    astronaut: Image, sampled: Sampled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_FACE_ATTRIBUTES", "/nothing/there.zip")
    sample = sampled(astronaut)
    with (
        open_detectors(JudgeSettings(gender_model=None)) as detectors,
        pytest.warns(UserWarning, match="faces are not read: TUNER_FACE_ATTRIBUTES"),
    ):
        score = adult.photographic(sample, Evidence(sample, detectors))
    assert (score.value, score.reason) == (None, "no face model")
