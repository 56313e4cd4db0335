from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrics.contract import Objective
from tuner.course import agreements, causes, course, hypervolumes, phase_seconds
from tuner.rows import RungRow, TrialRow


def trial(number: int, state: str = "complete", reason: str | None = None) -> TrialRow:
    return TrialRow(number, state, reason, {}, None, f"2026-01-01T00:00:{number:02d}", 10.0)


def rung(number: int, step: int, **values: float) -> RungRow:
    numbers = {name: Objective(name, one, 0.0, 1.0, 9, 9) for name, one in values.items()}
    return RungRow(number, step, numbers, {}, None, Path("grid.png"))


def test_the_hypervolume_is_the_dominated_share() -> None:
    found = hypervolumes([[0.5, 0.5], [0.2, 0.2], [0.5, 1.0], [1.0, 0.1]])
    assert found == pytest.approx([0.25, 0.25, 0.5, 0.55], abs=2e-3)
    assert hypervolumes([[0.8] * 4]) == pytest.approx([0.8**4], abs=5e-3)
    assert hypervolumes([[float("nan"), 1.0], [0.0, 0.0], [1.0, 1.0]]) == [0, 0, 1]
    assert hypervolumes([]) == []


def test_only_complete_trials_gain_and_all_that_are_over_cost() -> None:
    trials = [trial(0), trial(1, "pruned"), trial(2, "infeasible"), trial(3), trial(4, "running")]
    last = {n: rung(n, 20, pose=0.2 + 0.2 * n, gender=1.0) for n in (0, 2, 3, 4)}
    steps = course(trials, last, ["pose", "gender"])
    assert [one.trial for one in steps] == [0, 1, 2, 3]
    assert [one.seconds for one in steps] == [10, 20, 30, 40]
    assert [one.hypervolume for one in steps] == pytest.approx([0.2, 0.2, 0.2, 0.8], abs=2e-3)


def test_rungs_that_turn_the_order_round_are_weak() -> None:
    numbers = np.linspace(0.1, 0.9, 12)
    rungs = {
        n: [rung(n, 10, pose=value, gender=value), rung(n, 20, pose=1 - value, gender=value)]
        for n, value in enumerate(numbers)
    }
    # Stopped at its first rung: nothing is known of its last.
    rungs[99] = [rung(99, 10, pose=0.5, gender=0.5)]
    (found,) = agreements(rungs, ["pose", "gender"])
    assert (found.step, found.trials) == (10, 12)
    assert found.weak == ["pose"]
    assert found.correlations["gender"] is not None
    assert found.correlations["gender"].value == pytest.approx(1.0)


def test_rungs_of_few_trials_say_nothing() -> None:
    rungs = {n: [rung(n, 10, pose=n / 4), rung(n, 20, pose=n / 4)] for n in range(4)}
    assert agreements(rungs, ["pose"])[0].correlations["pose"] is None
    assert agreements({}, ["pose"]) == []


def test_seconds_add_up_by_phase() -> None:
    found = phase_seconds([("train", 2.0), ("score", 5.0), ("train", 4.0)])
    assert list(found.items()) == [("train", 6.0), ("score", 5.0)]


def test_causes_forget_the_numbers_of_one_trial() -> None:
    found = causes(
        [
            trial(0),
            trial(1, "pruned", "collapsed: 40 of 52 samples show nothing but one colour"),
            trial(2, "pruned", "collapsed: 52 of 52 samples show nothing but one colour"),
            trial(3, "infeasible", "undressed_rate is at least 0.30, allowed 0.15"),
            trial(4, "failed", "ValueError: odd"),
            trial(5, "running"),
            trial(6, "interrupted", None),
        ]
    )
    assert [(one.state, one.words, one.trials) for one in found] == [
        ("pruned", "collapsed", (1, 2)),
        ("failed", "ValueError: odd", (4,)),
        ("infeasible", "undressed_rate over the limit", (3,)),
        ("interrupted", "no reason was kept", (6,)),
    ]
