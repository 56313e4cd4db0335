from __future__ import annotations

import numpy as np
import pytest

from metrics.contract import Image, Prompt, Sample, ScoredSample
from tuner.rungs import hard_failure, is_flat

NOISE = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
BLACK = np.zeros((8, 8, 3), np.uint8)
PINK = np.full((8, 8, 3), (255, 120, 200), np.uint8)


def scored(*images: Image) -> list[ScoredSample]:
    return [ScoredSample(Sample(Prompt("1girl"), i, one), {}) for i, one in enumerate(images)]


@pytest.mark.parametrize("image", [BLACK, PINK])
def test_one_even_colour_is_flat(image: Image) -> None:
    assert is_flat(image)


def test_one_stroke_is_not_flat() -> None:
    line = BLACK.copy()
    line[4] = 255
    assert not is_flat(line)
    assert not is_flat(NOISE)


def test_half_of_the_samples_flat_is_collapse() -> None:
    assert hard_failure(scored(NOISE, BLACK, PINK, NOISE)) == (
        "collapsed: 2 of 4 samples show nothing but one colour"
    )


def test_fewer_is_bad_luck() -> None:
    assert hard_failure(scored(NOISE, BLACK, NOISE)) is None


def test_no_samples_is_a_failure() -> None:
    assert hard_failure([]) == "no samples"
