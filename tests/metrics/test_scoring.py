"""Samples that are scored together have the scores of single ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import metrics
from metrics.contract import BATCH, Image, Prompt, Sample
from metrics.detectors import Detectors
from tests.metrics.same_scores import require_same_scores

Drawn = Callable[..., list[Image]]


@pytest.fixture
def embedded(mannequin_detectors: Detectors, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures go through the open_clip model together, for each time from now on."""
    return counted(monkeypatch, mannequin_detectors.zero_shot, "embed_pictures")


@pytest.fixture
def searched(mannequin_detectors: Detectors, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures are searched for persons together, for each time from now on."""
    return counted(monkeypatch, mannequin_detectors.persons, "find")


def counted(monkeypatch: pytest.MonkeyPatch, detector: object, name: str) -> list[int]:
    """Return the number of pictures of each call of a detector's method from now on."""
    method, counts = getattr(detector, name), []

    def spied(images: Sequence[Image]) -> object:
        counts.append(len(images))
        return method(images)

    monkeypatch.setattr(detector, name, spied)
    return counts


def test_detectors_see_samples_together_and_scores_stay(
    mannequin_detectors: Detectors, rendered: Drawn, embedded: list[int], searched: list[int]
) -> None:
    images = rendered(BATCH + 2, 7, size=64, framing="full")
    images[1] = np.full((64, 64, 3), 200, np.uint8)  # nobody is there
    samples = [Sample(Prompt("1girl, solo", "female"), n, each) for n, each in enumerate(images)]
    together = metrics.score(samples, mannequin_detectors)
    assert embedded == [BATCH - 1, 2]
    assert searched == [BATCH, 2]
    for sample, found in zip(samples, together, strict=True):
        (alone,) = metrics.score([sample], mannequin_detectors)
        require_same_scores(found, alone)
    assert embedded == [BATCH - 1, 2]  # a single one needs no batch
    assert together[1].scores["gender"].value is None
