from __future__ import annotations

import numpy as np
import pytest

from metrics.contract import Image, Objective, Prompt, Sample, ScoredSample
from metrics.pareto import crowding, fronts, pareto
from tuner.study.stopping import Place, Standing, beyond_hope, broken, excesses, place, places
from tuner.trial.collapse import hard_failure, is_flat

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


def rate(value: float, low: float) -> dict[str, Objective]:
    return {"undressed_rate": Objective("undressed_rate", value, low, 1.0, 26, 26)}


def test_a_limit_is_broken_by_its_lower_bound() -> None:
    limits = {"undressed_rate": 0.15}
    assert excesses(rate(0.3, 0.14), limits)["undressed_rate"] == pytest.approx(-0.01)
    assert broken(rate(0.3, 0.14), limits) is None
    assert broken(rate(0.3, 0.151), limits) == "undressed_rate is at least 0.15, allowed 0.15"
    assert broken(rate(1.0, 0.9), {}) is None


@pytest.mark.parametrize(
    ("low", "base", "hopeless"),
    [(0.14, 0.0, False), (0.16, 0.1, True), (0.3, 0.4, False), (0.5, 0.4, True)],
)
def test_no_hope_is_over_the_limit_and_no_better_than_the_base(
    low: float, base: float, hopeless: bool
) -> None:
    limits = {"undressed_rate": 0.15}
    found = beyond_hope(rate(0.6, low), rate(base, 0.0), limits)
    assert (found is not None) == hopeless
    assert (beyond_hope(rate(0.6, low), {}, limits) is not None) == (low > 0.15)


def random_points(seed: int) -> np.ndarray:
    """Points of 1 to 4 objectives, on a grid, so that some are equal and some coordinates are."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 6, (int(rng.integers(1, 30)), int(rng.integers(1, 5)))) / 5


@pytest.mark.parametrize("seed", range(40))
def test_fronts_are_peeled_one_after_the_other(seed: int) -> None:
    values = random_points(seed)
    left, peeled = list(range(len(values))), []
    while left:
        best = [left[index] for index in pareto(values[left])]
        peeled.append(best)
        left = [index for index in left if index not in best]
    assert fronts(values) == peeled


@pytest.mark.parametrize("seed", range(40))
def test_places_follow_from_the_points_alone(seed: int) -> None:
    values = random_points(seed)
    rng = np.random.default_rng(seed)
    standings = [
        Standing(tuple(row), float(over))
        for row, over in zip(values, rng.choice([0.0, 0.0, 0.1, 0.2], len(values)), strict=True)
    ]
    found = places(standings)
    order = rng.permutation(len(standings))
    assert places([standings[index] for index in order]) == [found[index] for index in order]
    assert min(found) == 1
    for a, mine in zip(found, standings, strict=True):
        for b, other in zip(found, standings, strict=True):
            if mine == other:
                assert a == b
            elif mine.over != other.over:
                assert (a < b) == (mine.over < other.over)
            elif mine.over == 0 and np.all(np.subtract(mine.values, other.values) >= 0):
                assert a < b, "a trial is never behind one that it beats"


@pytest.mark.parametrize("seed", range(40))
def test_the_best_in_an_objective_have_infinite_room(seed: int) -> None:
    values = random_points(seed)
    members = values[fronts(values)[0]]
    room = crowding(members)
    for column in members.T:
        if np.ptp(column) > 0:
            assert all(np.isinf(one) for one in np.array(room)[column == column.max()])
    # In other units the room is the same.
    assert crowding(members * 7 - 3) == pytest.approx(room)


def test_room_is_the_distance_of_the_neighbours() -> None:
    # Of a straight front the two ends are best in something, and the lonely one has more room.
    line = np.array([[0.0, 1.0], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [1.0, 0.0]])
    assert crowding(line) == pytest.approx([np.inf, 0.4, 1.2, 1.6, np.inf])
    assert crowding(np.array([[0.5, 0.5]])) == [0.0]
    # The worst in one objective, best in none, counts the one gap that there is for both.
    worst = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.4], [0.8, 0.8, 0.0], [0.5, 0.5, 1.0]])
    assert crowding(worst)[2] == pytest.approx((1 - 0.5) + (1 - 0.5) + 2 * 0.4)


@pytest.mark.parametrize(
    ("others", "keep", "keep_from", "expected"),
    [
        ([0.1, 0.2], 0.5, 4, None),
        ([0.1, 0.2, 0.3], 1.0, 4, None),
        ([0.1, 0.2, 0.3], 0.5, 4, Place(1, 4, 2)),
        ([0.9, 0.8, 0.3], 0.5, 4, Place(3, 4, 2)),
        ([0.9, 0.5, 0.3], 0.5, 4, Place(2, 4, 2)),
        ([0.9], 0.1, 2, Place(2, 2, 1)),
        ([0.9] * 99, 0.29, 2, Place(100, 100, 29)),
    ],
)
def test_the_best_share_goes_on(
    others: list[float], keep: float, keep_from: int, expected: Place | None
) -> None:
    assert (
        place(Standing((0.5,)), [Standing((one,)) for one in others], keep, keep_from) == expected
    )


def test_a_place_stops_behind_those_that_go_on() -> None:
    assert not Place(2, 4, 2).stops
    assert Place(3, 4, 2).stops


@pytest.mark.parametrize(
    ("keep", "objectives"),
    [
        (0.25, 4),
        (0.5, 2),
        *(pytest.param(0.25, count, marks=pytest.mark.slow) for count in (1, 2)),
        *(pytest.param(0.5, count, marks=pytest.mark.slow) for count in (1, 4)),
    ],
)
def test_of_many_alike_about_the_share_goes_on(keep: float, objectives: int) -> None:
    """Asynchronous: each is compared with those before it, and none is called back."""
    rng = np.random.default_rng(0)
    there: list[Standing] = []
    went_on = 0
    for _ in range(200):
        mine = Standing(tuple(rng.random(objectives)))
        found = place(mine, there, keep, 4)
        went_on += found is None or not found.stops
        there.append(mine)
    assert went_on / 200 == pytest.approx(keep, abs=0.09)
