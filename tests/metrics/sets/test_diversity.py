from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from metrics.contract import ScoredSample
from metrics.sets.diversity import diversity

Figures = Callable[..., list[ScoredSample]]
ONE = {
    "sex": "female",
    "framing": "full",
    "arm_pose": "arms at sides",
    "hair": "black hair",
    "long_hair": True,
    "top": "dress",
    "top_colour": "blue",
    "skin": 1,
    "ground": "plain",
}


@pytest.fixture(scope="module")
def base(figures: Figures) -> list[ScoredSample]:
    return figures(21)


def test_one_figure_again_and_again_is_below_figures_that_differ(
    base: list[ScoredSample], figures: Figures
) -> None:
    same, varied = figures(22, **ONE), figures(23)
    one, many = diversity(same, base), diversity(varied, base)
    assert one.value is not None
    assert many.value is not None
    assert one.value < 0.6
    assert many.value > 0.85
    for found in (one, many):
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    assert one.high is not None
    assert one.high < 0.8


def test_the_base_itself_is_one_and_a_single_picture_is_zero(base: list[ScoredSample]) -> None:
    itself = diversity(base, base)
    assert (itself.value, itself.low, itself.high) == (1.0, 1.0, 1.0)
    copies = [replace(one, features=base[0].features) for one in base]
    assert diversity(copies, base).value == pytest.approx(0.0, abs=1e-3)


def test_two_seeds_of_each_prompt_leave_an_interval(
    base: list[ScoredSample], figures: Figures
) -> None:
    two = [[one for one in suite if one.sample.seed < 2] for suite in (figures(22, **ONE), base)]
    found = diversity(two[0], two[1])
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.total == 6
    assert found.low < found.value - 0.02
    assert found.high > found.value + 0.02


def test_lost_figures_are_no_diversity(base: list[ScoredSample]) -> None:
    lost = [replace(one, features=None) for one in base]
    none = diversity(lost, base)
    assert (none.value, none.n, none.total) == (0.0, 0, 12)
    half = [a if cell % 4 < 2 else b for cell, (a, b) in enumerate(zip(base, lost, strict=True))]
    found = diversity(half, base)
    assert found.value is not None
    assert found.value <= 0.5
    assert found.n == 6


def test_nothing_is_measured_without_two_seeds_or_without_spread(base: list[ScoredSample]) -> None:
    assert diversity(base[::4], base[::4]).note == "no prompt has two seeds"
    assert diversity([], []).note == "no prompt has two seeds"
    flat = [replace(one, features=base[0].features) for one in base]
    expected = "the base has no two different figures of one prompt with an embedding"
    assert diversity(base, flat).note == expected
    blind = [replace(one, features=None) for one in base]
    assert diversity(base, blind).note == expected
