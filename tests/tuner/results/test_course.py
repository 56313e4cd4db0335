from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from metrics.contract import Objective
from tuner.results.course import agreements, causes, course, hypervolumes, phase_seconds, rung_lines
from tuner.storage.rows import RungRow, TrialRow


def trial(number: int, state: str = "complete", reason: str | None = None) -> TrialRow:
    return TrialRow(number, state, reason, {}, None, f"2026-01-01T00:00:{number:02d}", 10.0)


def rung(number: int, step: int, **values: float) -> RungRow:
    numbers = {name: Objective(name, value, 0.0, 1.0, 9, 9) for name, value in values.items()}
    return RungRow(number, step, numbers, {}, None, Path("grid.png"))


def test_the_hypervolume_is_the_dominated_share() -> None:
    volumes = hypervolumes([[0.5, 0.5], [0.2, 0.2], [0.5, 1.0], [1.0, 0.1]])
    assert volumes == pytest.approx([0.25, 0.25, 0.5, 0.55], abs=2e-3)
    assert hypervolumes([[0.8] * 4]) == pytest.approx([0.8**4], abs=5e-3)
    assert hypervolumes([[float("nan"), 1.0], [0.0, 0.0], [1.0, 1.0]]) == [0, 0, 1]
    assert hypervolumes([]) == []


def test_only_complete_trials_gain_and_all_that_are_over_cost() -> None:
    trials = [trial(0), trial(1, "pruned"), trial(2, "infeasible"), trial(3), trial(4, "running")]
    last = {n: rung(n, 20, pose=0.2 + 0.2 * n, gender=1.0) for n in (0, 2, 3, 4)}
    steps = course(trials, last, ["pose", "gender"])
    assert [step.trial for step in steps] == [0, 1, 2, 3]
    assert [step.seconds for step in steps] == [10, 20, 30, 40]
    assert [step.hypervolume for step in steps] == pytest.approx([0.2, 0.2, 0.2, 0.8], abs=2e-3)


def whole(rungs: Mapping[int, Sequence[RungRow]], state: str = "complete") -> list[TrialRow]:
    return [trial(number, state) for number in rungs]


def test_rungs_that_turn_the_order_round_are_weak() -> None:
    numbers = np.linspace(0.1, 0.9, 12)
    rungs = {
        n: [rung(n, 10, pose=value, gender=value), rung(n, 20, pose=1 - value, gender=value)]
        for n, value in enumerate(numbers)
    }
    trials = whole(rungs)
    # Of those that were stopped, broke down or run, the last rung is not known.
    for n, state in ((97, "running"), (98, "pruned"), (99, "stopped")):
        rungs[n] = [rung(n, 10, pose=0.5, gender=0.5)]
        trials.append(trial(n, state))
    # Done again as another trial.
    rungs[96] = [rung(96, 10, pose=0.5, gender=0.5)]
    trials.append(trial(96, "interrupted"))
    (agreement,) = agreements(trials, rungs, ["pose", "gender"])
    assert (agreement.step, agreement.reached, agreement.stopped, agreement.trials) == (
        10,
        15,
        1,
        12,
    )
    assert agreement.weak == ["pose"]
    assert agreement.correlations["gender"] is not None
    assert agreement.correlations["gender"].value == pytest.approx(1.0)
    # At the first rung each beats the one before it, at the last all are on one front.
    assert agreement.order is None
    assert agreement.foretells == pytest.approx(0.0)
    assert agreement.warning == (
        "step 10 predicts the last rung badly (rank correlation 0.00 over 12 trials): raise it "
        "in budget.rungs, or let all trials go on with budget.keep: 1"
    )
    lines = rung_lines([agreement])
    assert lines[0] == (
        "step 10: 15 trials, 1 stopped there; rank correlation with the last rung: pose -1.00, "
        "gender +1.00 (over 12 trials)"
    )
    assert lines[1:] == [f"warning: {agreement.warning}"]


def test_the_order_counts_where_it_is_known() -> None:
    values = np.linspace(0.1, 0.9, 10)
    rungs = {
        n: [rung(n, 10, pose=value, gender=value), rung(n, 20, pose=value, gender=0.9 * value)]
        for n, value in enumerate(values)
    }
    (agreement,) = agreements(whole(rungs), rungs, ["pose", "gender"])
    assert agreement.order is not None
    assert agreement.foretells == agreement.order.value == pytest.approx(1.0)
    assert agreement.warning is None
    rungs = {n: [of[0], rung(n, 20, pose=0.1 + n % 3, gender=n % 3)] for n, of in rungs.items()}
    (agreement,) = agreements(whole(rungs, "infeasible"), rungs, ["pose", "gender"])
    assert agreement.order is not None
    assert agreement.warning is not None
    assert f"{agreement.order.value:.2f} over 10 trials" in agreement.warning


def test_rungs_are_held_against_each_trials_own_last() -> None:
    """Some were stopped at the second of three rungs, and for some the second is the last."""
    rungs = {n: [rung(n, step, pose=n / 20) for step in (10, 20, 40)] for n in range(8)}
    rungs |= {n: [rung(n, step, pose=n / 20) for step in (10, 20)] for n in range(8, 16)}
    trials = [trial(n, "stopped" if 8 <= n < 12 else "complete") for n in rungs]
    first, second = agreements(trials, rungs, ["pose"])
    assert (first.step, first.reached, first.stopped, first.trials) == (10, 16, 0, 12)
    assert (second.step, second.reached, second.stopped, second.trials) == (20, 12, 4, 8)


def test_rungs_of_few_trials_predict_nothing() -> None:
    rungs = {n: [rung(n, 10, pose=n / 4), rung(n, 20, pose=n / 4)] for n in range(4)}
    (agreement,) = agreements(whole(rungs), rungs, ["pose"])
    assert (agreement.correlations["pose"], agreement.order, agreement.warning) == (
        None,
        None,
        None,
    )
    assert "too few trials have both" in rung_lines([agreement])[0]
    backwards = {n: [rung(n, 10, pose=n / 7), rung(n, 20, pose=-n / 7)] for n in range(7)}
    (agreement,) = agreements(whole(backwards), backwards, ["pose"])
    assert agreement.correlations["pose"] is not None
    assert agreement.warning is None
    assert agreements([], {}, ["pose"]) == []
    once = {n: [rung(n, 20, pose=n / 7)] for n in range(7)}
    assert agreements([*whole(once), trial(9, "failed")], once, ["pose"]) == []
    assert agreements(whole(once, "running"), once, ["pose"]) == []


def test_a_measure_without_a_number_is_left_out() -> None:
    rungs = {n: [rung(n, 10, pose=n / 9), rung(n, 20, pose=n / 9)] for n in range(9)}
    rungs[0][0] = rung(0, 10)
    rungs[1][1] = rung(1, 20, pose=float("nan"))
    (agreement,) = agreements(whole(rungs), rungs, ["pose"])
    assert agreement.correlations["pose"] is not None
    assert agreement.correlations["pose"].value == pytest.approx(1.0)


def test_seconds_add_up_by_phase() -> None:
    seconds = phase_seconds([("train", 2.0), ("score", 5.0), ("train", 4.0)])
    assert list(seconds.items()) == [("train", 6.0), ("score", 5.0)]


def test_causes_forget_the_numbers_of_one_trial() -> None:
    grouped = causes(
        [
            trial(0),
            trial(1, "pruned", "collapsed: 40 of 52 samples show nothing but one colour"),
            trial(2, "pruned", "collapsed: 52 of 52 samples show nothing but one colour"),
            trial(3, "infeasible", "undressed_rate is at least 0.30, allowed 0.15"),
            trial(4, "failed", "ValueError: odd"),
            trial(5, "running"),
            trial(6, "interrupted", None),
            trial(7, "stopped", "behind at step 10: place 4 of 5, the best 2 go on"),
            trial(8, "stopped", "behind at step 10: place 5 of 6, the best 3 go on"),
        ]
    )
    assert [(cause.state, cause.words, cause.trials) for cause in grouped] == [
        ("pruned", "collapsed", (1, 2)),
        ("stopped", "behind at step 10", (7, 8)),
        ("failed", "ValueError: odd", (4,)),
        ("infeasible", "undressed_rate over the limit", (3,)),
        ("interrupted", "no reason was kept", (6,)),
    ]
