from __future__ import annotations

import numpy as np
import pytest

from metrics.sets.set_distance import (
    distances,
    draw_weights,
    energy,
    p_value,
    progress,
    restrict_weights,
    within,
)


def even(count: int) -> np.ndarray:
    return np.full((1, count), 1 / count)


def test_energy_distance_of_a_case_worked_by_hand() -> None:
    one, other = np.array([[0.0], [2.0]]), np.array([[1.0], [4.0]])
    # between: (1 + 4 + 1 + 2) / 4 = 2; within: 2 and 3
    assert energy(one, other, even(2), even(2)) == pytest.approx(2 * 2 - 2 - 3)


def test_random_halves_of_one_set_are_at_distance_zero_on_average() -> None:
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(20, 3))
    found = []
    for _ in range(400):
        order = rng.permutation(20)
        found.append(energy(whole[order[:8]], whole[order[8:]], even(8), even(12))[0])
    assert abs(np.mean(found)) < 3 * np.std(found) / 20
    assert energy(whole, whole + 2.0, even(20), even(20))[0] > 10 * np.std(found)


def test_weighted_means_are_those_of_repeated_members() -> None:
    points = np.array([[0.0], [1.0], [5.0]])
    weights = np.array([[0.5, 0.25, 0.25]])
    # pairs of different members: 2 (.125 x 1 + .125 x 5 + .0625 x 4) of 1 - .375
    assert within(distances(points, points), weights)[0] == pytest.approx(2.0 / 0.625)


def test_the_first_draw_weighs_all_alike_and_every_draw_adds_up_to_one() -> None:
    weights = draw_weights(7, np.random.default_rng(0))
    assert np.allclose(weights.sum(axis=1), 1.0)
    assert np.allclose(weights[0], 1 / 7)
    some = restrict_weights(weights, np.array([True, False, True, True, False, False, True]))
    assert some.shape == (len(weights), 4)
    assert np.allclose(some.sum(axis=1), 1.0)


def test_distances_are_euclidean_and_zero_for_equal_vectors() -> None:
    points = np.random.default_rng(1).normal(size=(5, 4))
    apart = distances(points, points)
    assert np.allclose(np.diag(apart), 0.0, atol=1e-6)
    assert apart[0, 1] == pytest.approx(float(np.linalg.norm(points[0] - points[1])))


def test_chance_is_small_for_far_sets_and_even_for_one_source() -> None:
    rng = np.random.default_rng(0)
    assert p_value(rng.normal(size=(15, 2)), rng.normal(size=(15, 2)) + 3, rng) <= 0.01
    same = [p_value(rng.normal(size=(12, 2)), rng.normal(size=(15, 2)), rng) for _ in range(40)]
    assert 0.3 < np.mean(same) < 0.7


def test_the_way_is_clipped_at_both_ends() -> None:
    gone = progress(np.array([4.0, 4.0, 4.0]), np.array([5.0, 2.0, -1.0]), 0.0)
    assert gone.tolist() == [0.0, 0.5, 1.0]
