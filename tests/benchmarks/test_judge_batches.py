"""Detectors by one picture and by several: compared first, then timed."""

from __future__ import annotations

from collections.abc import Sequence

import judge_batches
import numpy as np
import pytest
from judge_batches import measured, part_scores, person_boxes

from metrics.contract import Image
from metrics.detectors.yolo import MIN_SIDE
from tuner.mannequin import draw
from tuner.mannequin.figure import random_figure


@pytest.fixture(scope="module")
def pictures() -> list[Image]:
    rng = np.random.default_rng(0)
    return [draw(random_figure(rng), 64) for _ in range(3)]


def test_detectors_find_the_same_one_by_one_and_together(pictures: list[Image]) -> None:
    rows = [
        measured("parts", part_scores(), pictures, 1),
        measured("persons", person_boxes(MIN_SIDE), pictures, 1),
    ]
    assert all(row.alone > 0 and row.together > 0 for row in rows)
    assert judge_batches.page(rows, 3).count("\n| ") == 3


def test_a_detector_that_finds_other_things_together_is_refused(pictures: list[Image]) -> None:
    def mean_of_all(images: Sequence[Image]) -> np.ndarray:
        return np.full((len(images), 1), np.mean(images))

    with pytest.raises(SystemExit, match="together it finds other things"):
        measured("mean", mean_of_all, pictures, 1)
