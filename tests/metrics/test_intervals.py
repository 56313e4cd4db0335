from __future__ import annotations

import math

import numpy as np
import pytest

from metrics.intervals import (
    beta_draws,
    central,
    dirichlet_weights,
    mean_interval,
    ratio_draws,
    wilson,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(20, 20, 0.84, 1.0), (18, 20, 0.70, 0.97), (0, 52, 0.0, 0.069), (26, 52, 0.37, 0.63)],
)
def test_wilson_agrees_with_published_values(
    successes: int, n: int, low: float, high: float
) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=0.005)


def test_students_interval_of_a_mean_by_hand() -> None:
    low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert high - 2.0 == pytest.approx(4.302653 / math.sqrt(3))  # t of 2 degrees of freedom
    assert low + high == pytest.approx(4.0)
    assert mean_interval(np.array([0.4])) == (0.4, 0.4)
    with pytest.raises(ValueError, match="no value"):
        mean_interval(np.array([]))


def test_the_ratio_of_paired_sums_is_surer_than_its_parts() -> None:
    rng = np.random.default_rng(0)
    below = rng.uniform(0.5, 2.0, 40)
    assert ratio_draws(below, below, rng) == pytest.approx(1.0)
    low, high = np.quantile(ratio_draws(1.1 * below + rng.normal(0, 0.01, 40), below, rng), [0, 1])
    assert 1.08 < low < 1.1 < high < 1.12


def test_wilson_of_nothing_knows_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_exact_ends_are_exact() -> None:
    assert wilson(0, 52)[0] == 0.0
    assert wilson(52, 52)[1] == 1.0


def test_central_holds_the_value_even_when_no_draw_reaches_it() -> None:
    draws = beta_draws(20.0, 20, np.random.default_rng(0))
    low, high = central(draws, 1.0)
    assert high == 1.0
    assert 0.8 < low < 0.95


def test_dirichlet_weights_add_up_and_keep_room_for_the_unseen() -> None:
    weights = dirichlet_weights(10, np.random.default_rng(0))
    assert weights.sum(axis=1) == pytest.approx(1.0)
    assert weights[:, -2:].mean() == pytest.approx(0.5 / 11, rel=0.1)
