from __future__ import annotations

import numpy as np
import pytest

from tuner.mannequin import draw
from tuner.mannequin.figure import random_figure
from tuner.mannequin.render import draw_ground
from tuner.mannequin.unreadable import KINDS, STRENGTHS, unreadable


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("size", [64, pytest.param(256, marks=pytest.mark.slow)])
def test_each_kind_takes_a_figure_further_from_itself_with_its_strength(
    kind: str, size: int
) -> None:
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(6):
        figure = random_figure(rng)
        sound = draw(figure, size).astype(int)
        drawn = [unreadable(figure, size, kind, strength) for strength in STRENGTHS]
        assert all(image.shape == sound.shape and image.dtype == np.uint8 for image in drawn)
        gaps.append([np.abs(image - sound).mean() for image in drawn])
    rising = np.mean(gaps, axis=0)
    assert rising[0] > 0.5
    assert (np.diff(rising) > 0).all()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_equal_figures_are_spoilt_alike(kind: str) -> None:
    figure = random_figure(np.random.default_rng(1))
    first, second = (unreadable(figure, 64, kind, 0.7) for _ in range(2))
    assert np.array_equal(first, second)


def test_the_ground_is_that_of_the_picture() -> None:
    figure = random_figure(np.random.default_rng(2), framing="full")
    differs = (draw(figure, 128) != draw_ground(figure, 128)).any(axis=-1)
    assert 0.05 < differs.mean() < 0.5
    assert not differs[:, :4].any()
