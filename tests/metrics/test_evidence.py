from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metrics.contract import Image, Sample
from metrics.detectors import Detectors
from metrics.evidence import WHOLE, Evidence
from metrics.preprocess import overlap
from tuner.mannequin import draw
from tuner.mannequin.figure import random_figure

Drawn = Callable[..., list[Image]]
Sampled = Callable[..., Sample]


@pytest.fixture
def looks(mannequin_detectors: Detectors, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The longest side of every picture that the pose landmarker sees from now on."""
    look = mannequin_detectors.pose
    sides: list[int] = []

    def spied(image: Image) -> object:
        sides.append(max(image.shape[:2]))
        return look(image)

    monkeypatch.setattr(mannequin_detectors, "pose", spied)
    return sides


def test_an_arm_that_is_taken_for_a_person_gives_way_to_the_whole_figure(
    detectors: Detectors, mannequin_detectors: Detectors, sampled: Sampled
) -> None:
    rng = np.random.default_rng(410)
    taken_for_an_arm = [random_figure(rng, framing="half", style="second") for _ in range(87)][86]
    image = draw(taken_for_an_arm, 256)
    sample = sampled(image)
    arm, whole = (Evidence(sample, each).person for each in (detectors, mannequin_detectors))
    persons = mannequin_detectors.persons
    assert arm is not None
    assert whole is not None
    assert persons is not None
    (there,) = persons(image)
    assert overlap(arm.box, there.box) < WHOLE <= overlap(whole.box, there.box)


def test_a_whole_figure_is_read_once(
    mannequin_detectors: Detectors, rendered: Drawn, sampled: Sampled, looks: list[int]
) -> None:
    (image,) = rendered(1, 3, size=256, framing="full")
    assert Evidence(sampled(image), mannequin_detectors).person is not None
    assert looks == [256]


def test_a_figure_that_no_person_detector_confirms_is_kept_where_softening_helps_nothing(
    mannequin_detectors: Detectors,
    rendered: Drawn,
    sampled: Sampled,
    looks: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (image,) = rendered(1, 3, size=256, framing="full")
    sample = sampled(image)
    once = Evidence(sample, mannequin_detectors).person
    monkeypatch.setattr("metrics.evidence.WHOLE", 1.1)
    twice = Evidence(sample, mannequin_detectors).person
    assert once is not None
    assert twice is not None
    assert (once.joints == twice.joints).all()
    assert looks == [256, 256, 64]
