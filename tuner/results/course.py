"""Course of a study: its gain over time, how well rungs predict the last one, causes of failure.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from metrics.pareto import Floats, fronts
from tuner.events import COUNTED
from tuner.results.effects import FEWEST, Interval, rank_correlation
from tuner.storage.rows import RungRow, TrialRow
from tuner.text import counted

WEAK = 0.5
"""Rank correlation with the last rung below which a rung predicts it badly."""

_LOG_POINTS = 14
_ENDED = (*COUNTED, "failed", "interrupted")


@dataclass(frozen=True)
class Step:
    """The hypervolume after a trial; `seconds` is the time of all trials so far."""

    trial: int
    seconds: float
    hypervolume: float


@dataclass(frozen=True)
class RungAgreement:
    """A rung below the last: the trials that reached it, and how well it predicts their order.

    `reached` trials were scored there and `stopped` of them ended there. Over the `trials` that
    also came to their last rung, `order` is Spearman's correlation of the non-dominated rank there
    with that at the last rung, `correlations` the same for each objective; None if too few trials
    have both, or all are equal.
    """

    step: int
    reached: int
    stopped: int
    trials: int
    order: Interval | None
    correlations: Mapping[str, Interval | None]

    @property
    def weak(self) -> list[str]:
        """The objectives in which the rung predicts the last one badly."""
        return [
            name
            for name, correlation in self.correlations.items()
            if correlation and correlation.value < WEAK
        ]

    @property
    def foretells(self) -> float | None:
        """Correlation of the rung with the last one.

        It is `order`, else the median correlation of the objectives; None for fewer than FEWEST
        trials.
        """
        known = [correlation.value for correlation in self.correlations.values() if correlation]
        if self.trials < FEWEST or not (known or self.order):
            return None
        return self.order.value if self.order else float(np.median(known))

    @property
    def warning(self) -> str | None:
        """One line if the rung is a poor basis for stopping trials, with what to do."""
        if self.foretells is None or self.foretells >= WEAK:
            return None
        return (
            f"step {self.step} predicts the last rung badly (rank correlation "
            f"{self.foretells:.2f} over {counted(self.trials, 'trial')}): raise it in "
            "budget.rungs, or let all trials go on with budget.keep: 1"
        )


@dataclass(frozen=True)
class Cause:
    """A cause for which trials did not complete: their state, the cause in words, the trials."""

    state: str
    words: str
    trials: tuple[int, ...]


def hypervolumes(points: Sequence[Sequence[float]]) -> list[float]:
    """Return, for each point, the share of the unit cube that it and all earlier points dominate.

    All coordinates are maximised.
    Counted on 16,384 scrambled Sobol points with a fixed seed: in four dimensions the error is
    below 0.005, and a later point never lowers it. A point with a NaN dominates nothing.
    """
    if not points:
        return []
    dimensions = len(points[0])
    grid = qmc.Sobol(dimensions, rng=np.random.default_rng(0)).random_base2(_LOG_POINTS)
    dominated = np.zeros(len(grid), bool)
    volumes = []
    for point in np.asarray(points, np.float64):
        dominated |= (grid <= point).all(axis=1)
        volumes.append(float(dominated.mean()))
    return volumes


def course(
    trials: Sequence[TrialRow], last: Mapping[int, RungRow], objectives: Sequence[str]
) -> list[Step]:
    """Return the hypervolume of the complete trials after each finished trial, over the seconds.

    `last` is each trial's last rung. Trials count in the order in which they began.
    """
    over = sorted(
        (trial for trial in trials if trial.state in _ENDED and trial.seconds is not None),
        key=lambda trial: (trial.begun, trial.number),
    )
    nothing = [float("nan")] * len(objectives)
    points = [
        [last[trial.number].objectives[name].value for name in objectives]
        if trial.state == "complete" and trial.number in last
        else nothing
        for trial in over
    ]
    seconds = np.cumsum([trial.seconds or 0.0 for trial in over])
    return [
        Step(trial.number, float(at), volume)
        for trial, at, volume in zip(over, seconds, hypervolumes(points), strict=True)
    ]


def agreements(
    trials: Sequence[TrialRow], rungs: Mapping[int, Sequence[RungRow]], objectives: Sequence[str]
) -> list[RungAgreement]:
    """Return for each rung below the last how many trials stopped there and how well it predicts.

    Rungs are in the order of their steps. Only trials that came to their last rung count for the
    prediction; interrupted trials, which are run again, do not count at all.
    """
    states = {trial.number: trial.state for trial in trials if trial.state != "interrupted"}
    known = {number: of for number, of in rungs.items() if number in states}
    whole = {number for number in known if states[number] in ("complete", "infeasible")}
    steps: dict[int, dict[int, RungRow]] = {}
    for number, of in known.items():
        for rung in of[:-1] if number in whole else of:
            steps.setdefault(rung.step, {})[number] = rung
    compared = []
    for step, there in sorted(steps.items()):
        stopped = [n for n in there if states[n] == "stopped" and known[n][-1].step == step]
        both = [n for n in there if n in whole]
        if not stopped and all(known[n][-1].step == step for n in there):
            continue  # a last rung, of trials that failed or run
        early = _values([there[n] for n in both], objectives)
        late = _values([known[n][-1] for n in both], objectives)
        correlations = {
            name: _correlation(early[:, place], late[:, place])
            for place, name in enumerate(objectives)
        }
        order = _correlation(_ranks(early), _ranks(late))
        compared.append(
            RungAgreement(step, len(there), len(stopped), len(both), order, correlations)
        )
    return compared


def rung_lines(rungs: Sequence[RungAgreement]) -> list[str]:
    """Return `agreements` as text: a line for each rung, then a warning for each poor one."""
    lines = []
    for rung in rungs:
        known = {"order": rung.order, **rung.correlations}
        words = ", ".join(f"{name} {each.value:+.2f}" for name, each in known.items() if each)
        over = counted(rung.trials, "trial")
        stopped = f", {rung.stopped} stopped there" if rung.stopped else ""
        lines.append(
            f"step {rung.step}: {counted(rung.reached, 'trial')}{stopped}; "
            "rank correlation with the last rung: "
            + (f"{words} (over {over})" if words else "too few trials have both")
        )
    return lines + [f"warning: {rung.warning}" for rung in rungs if rung.warning]


def _values(rungs: Sequence[RungRow], objectives: Sequence[str]) -> Floats:
    """Return the objectives, shape (rungs, objectives), NaN for one that was not measured."""
    rows = [[rung.objectives.get(name) for name in objectives] for rung in rungs]
    numbers = [
        [float("nan") if objective is None else objective.value for objective in row]
        for row in rows
    ]
    return np.array(numbers, np.float64).reshape(len(rungs), len(objectives))


def _ranks(values: Floats) -> Floats:
    """Return the non-dominated rank of each row, NaN for a row with missing numbers."""
    ranks = np.full(len(values), np.nan)
    whole = np.flatnonzero(np.isfinite(values).all(axis=1))
    for rank, members in enumerate(fronts(values[whole])):
        ranks[whole[members]] = rank
    return ranks


def _correlation(early: Floats, late: Floats) -> Interval | None:
    both = np.isfinite(early) & np.isfinite(late)
    return rank_correlation(early[both], late[both])


def phase_seconds(phases: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return the seconds of each phase, the longest first."""
    sums: dict[str, float] = {}
    for name, seconds in phases:
        sums[name] = sums.get(name, 0.0) + seconds
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def causes(trials: Sequence[TrialRow]) -> list[Cause]:
    """Return the causes of the finished trials that did not complete, the most frequent first."""
    groups: dict[tuple[str, str], list[int]] = {}
    for trial in trials:
        if trial.state in _ENDED and trial.state != "complete":
            groups.setdefault((trial.state, _cause(trial)), []).append(trial.number)
    grouped = [Cause(state, words, tuple(of)) for (state, words), of in groups.items()]
    return sorted(grouped, key=lambda cause: (-len(cause.trials), cause.state, cause.words))


def _cause(trial: TrialRow) -> str:
    """Return the trial's reason without its own numbers, so that trials can be grouped."""
    reason = trial.reason or "no reason was kept"
    if trial.state == "infeasible":
        broken = [part.split(" ", 1)[0] for part in reason.split("; ")]
        return " and ".join(broken) + " over the limit"
    return reason.split(":", 1)[0] if trial.state in ("pruned", "stopped") else reason
