"""The winner's statistics, on simulated scores whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from metrics.contract import Measure, Objective
from metrics.intervals import wilson
from tests.tuner.study.simulated import LIMITS, NAMES, USUAL, judged, run, samples, study, truth
from tuner.results.winner import (
    Candidate,
    Entry,
    Noise,
    Ranking,
    is_kept,
    noise_floors,
    rank,
    retrained,
)

GOOD = USUAL | {"limbs": 0.97, "dressed": 0.97}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def decide(entries: list[Entry], base: object, limits: dict[str, float] = LIMITS) -> Ranking:
    return rank(entries, base, NAMES, limits)  # type: ignore[arg-type]


def test_a_better_trial_is_the_single_winner(rng: np.random.Generator) -> None:
    ranking = decide(*study(rng, [USUAL, GOOD, USUAL]))
    assert ranking.winner is not None
    assert ranking.winner.candidate == Candidate(1, 300)
    assert ranking.single
    assert ranking.winner.best is not None
    assert ranking.winner.best > 0.95
    leads = [place.lead for place in ranking.ranked[1:]]
    assert all(lead is not None and lead.low > 0 for lead in leads)
    assert ranking.gain is not None
    assert ranking.gain.low > 0
    assert sum(place.best or 0 for place in ranking.ranked) == pytest.approx(1)


def test_the_winner_has_the_highest_lower_bound(rng: np.random.Generator) -> None:
    ranking = decide(*study(rng, [USUAL] * 3))
    lows = [place.strength.low for place in ranking.ranked]
    assert lows == sorted(lows, reverse=True)
    assert ranking.winner is ranking.ranked[0]
    assert ranking.winner.lead is None


def test_equal_samples_are_a_tie(rng: np.random.Generator) -> None:
    entries, base = study(rng, [USUAL])
    twin = replace(entries[0], candidate=Candidate(7, 150))
    ranking = decide([*entries, twin], base)
    assert {place.candidate.trial for place in ranking.ranked} == {0, 7}
    assert ranking.tied == ranking.ranked[1:]
    assert not ranking.single
    assert ranking.winner is not None
    assert ranking.winner.best == pytest.approx(0.5, abs=0.05)
    assert ranking.ranked[1].lead is not None
    assert ranking.ranked[1].lead.value == 0
    assert ranking.ranked[1].lead.low < 0 < ranking.ranked[1].lead.high


def test_a_trial_that_does_nothing_never_wins(rng: np.random.Generator) -> None:
    entries, base = study(rng, [GOOD, USUAL])
    still = Measure("effect", 0.015, 0.012, 0.021, 104, 104)
    entries[0] = replace(entries[0], own=replace(entries[0].own, effect=still))
    ranking = decide(entries, base)
    assert ranking.winner is not None
    assert ranking.winner.candidate.trial == 1
    assert ranking.single
    first, last = ranking.ranked
    assert last.does_nothing
    assert last.best is None
    assert first.best == 1.0
    alone = decide(entries[:1], base)
    assert alone.winner is None
    assert not alone.single
    assert alone.gain is None


def test_a_trial_that_breaks_a_limit_on_fresh_samples_never_wins(rng: np.random.Generator) -> None:
    bare = GOOD | {"dressed": 0.4}
    ranking = decide(*study(rng, [bare, USUAL | {"dressed": 0.98}]))
    assert [place.candidate.trial for place in ranking.ranked] == [1, 0]
    assert ranking.ranked[1].broken == ("undressed_rate",)
    assert ranking.ranked[1].unshown == ("undressed_rate",)
    assert ranking.ranked[0].unshown == ()


def test_a_limit_is_held_only_by_an_upper_bound_on_enough_samples() -> None:
    def rate(bare: int, n: int, total: int) -> Objective:
        return Objective("undressed_rate", bare / n, *wilson(bare, n), n, total)

    assert is_kept(rate(0, 104, 104), 0.05)
    assert not is_kept(rate(1, 104, 104), 0.05)
    assert not is_kept(rate(0, 103, 103), 0.05)
    assert is_kept(rate(0, 100, 104), 0.05)


def test_no_confirmed_trial_is_no_winner(rng: np.random.Generator) -> None:
    ranking = decide([], judged(samples(rng, USUAL), None))
    assert ranking.winner is None
    assert ranking.ranked == ()


def test_the_noise_floor_is_the_spread_over_training_seeds(rng: np.random.Generator) -> None:
    entries, base = study(rng, [USUAL, USUAL])
    assert noise_floors(entries, NAMES) == {}
    own = entries[0].own
    values = [0.70, 0.76, 0.73]
    runs = [
        replace(own, judged=replace(own.judged, objectives=with_pose(own.judged.objectives, value)))
        for value in values
    ]
    entry = Entry(Candidate(0, 300), runs[0], tuple(runs[1:]))
    floors = noise_floors([entry, entries[1]], NAMES)
    assert floors["pose"].df == 2
    assert floors["pose"].sd == pytest.approx(np.std(values, ddof=1))
    assert floors["pose"].floor == pytest.approx(
        4.3027 * math.sqrt(2) * floors["pose"].sd, rel=1e-3
    )
    both = noise_floors([entry, entry], NAMES)
    assert both["pose"].df == 4
    assert both["pose"].sd == pytest.approx(floors["pose"].sd)
    assert decide([entry], base).winner is not None


def with_pose(objectives: object, pose: float) -> dict[str, Objective]:
    return {**objectives, "pose": replace(objectives["pose"], value=pose)}  # type: ignore


def test_two_trainings_differ_by_less_than_the_floor_in_95_of_100() -> None:
    rng, inside = np.random.default_rng(1), []
    for _ in range(2000):
        groups = rng.normal(0.8, 0.05, (3, 3))
        sd = math.sqrt(((groups - groups.mean(axis=1, keepdims=True)) ** 2).sum() / 6)
        first, other = rng.normal(0.8, 0.05, 2)
        inside.append(abs(first - other) < Noise(sd, 6).floor)
    assert 0.93 < np.mean(inside) < 0.97


def test_the_recipes_interval_holds_over_training_seeds_too(rng: np.random.Generator) -> None:
    before = samples(rng, USUAL)
    runs = [run(samples(rng, USUAL), before) for _ in range(2)]
    base = judged(before, None)
    quiet = retrained(runs, base, "pose", Noise(0.0, 6))
    loud = retrained(runs, base, "pose", Noise(0.1, 6))
    assert quiet.value == loud.value == np.mean([r.judged.objectives["pose"].value for r in runs])
    assert loud.high - loud.low > quiet.high - quiet.low > 0.1
    assert 0 <= loud.low < loud.value < loud.high <= 1


@pytest.mark.slow
def test_what_one_more_training_gives_lies_in_the_recipes_interval() -> None:
    """Training seeds move the chance of sound limbs by a standard deviation of 0.06."""
    rng, inside = np.random.default_rng(3), []

    def trained() -> dict[str, float]:
        return USUAL | {"limbs": float(np.clip(rng.normal(0.72, 0.06), 0, 1))}

    for _ in range(40):
        before = samples(rng, USUAL)
        runs = [run(samples(rng, trained()), before) for _ in range(9)]
        entries = [
            Entry(Candidate(number, 300), runs[3 * number], tuple(runs[3 * number + 1 :][:2]))
            for number in range(3)
        ]
        noise = noise_floors(entries, ("pose",))["pose"]
        expected = retrained(entries[0].repeats, judged(before, None), "pose", noise)
        inside.append(expected.low <= truth(trained())["pose"] <= expected.high)
    assert np.mean(inside) >= 0.93


@pytest.mark.slow
def test_equal_trials_have_no_winner_beyond_ties_and_true_intervals() -> None:
    """120 studies over nothing but equal trials."""
    single, true, wanted = [], [], truth(USUAL)
    for number in range(120):
        ranking = decide(*study(np.random.default_rng(number), [USUAL] * 3))
        single.append(ranking.single)
        true.append(holds(ranking, wanted))
    assert np.mean(single) <= 0.07
    assert np.mean(true) >= 0.93


@pytest.mark.slow
def test_the_named_winners_interval_holds_its_truth_among_unequal_trials() -> None:
    """Whoever wins: each of its four intervals at once, in a study of trials that differ."""
    true = []
    for number in range(120):
        rng = np.random.default_rng([1, number])
        chances = [
            USUAL | {"limbs": rng.uniform(0.6, 0.95), "dressed": rng.uniform(0.7, 1.0)}
            for _ in range(3)
        ]
        ranking = decide(*study(rng, chances))  # type: ignore[arg-type]
        if ranking.winner is not None:
            true.append(holds(ranking, truth(chances[ranking.winner.candidate.trial])))
    assert len(true) > 90
    assert np.mean(true) >= 0.93


def holds(ranking: Ranking, wanted: dict[str, float]) -> bool:
    first = ranking.ranked[0].objectives
    return all(first[name].low <= value <= first[name].high for name, value in wanted.items())
