"""How a study went: what it gained for its seconds, how its rungs agree, where time went. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from metrics.pareto import Floats, fronts
from tuner.effects import FEWEST, Estimate, rank_correlation
from tuner.events import COUNTED
from tuner.rows import RungRow, TrialRow

WEAK = 0.5
"""Below this rank correlation a rung says little about the last one."""

_LOG_POINTS = 14
_ENDED = (*COUNTED, "failed", "interrupted")


@dataclass(frozen=True)
class Step:
    """The hypervolume after a trial: `seconds` of all trials so far."""

    trial: int
    seconds: float
    hypervolume: float


@dataclass(frozen=True)
class RungAgreement:
    """A rung below the last: who came to it, and how it orders the trials beside the last rung.

    `reached` trials were scored there and `stopped` of them ended there. Over the `trials` that
    came to their last rung too, `order` is Spearman's correlation of the non-dominated rank there
    with that at the last rung, `correlations` the same of each objective; None where too few
    trials have both, or all are alike.
    """

    step: int
    reached: int
    stopped: int
    trials: int
    order: Estimate | None
    correlations: Mapping[str, Estimate | None]

    @property
    def weak(self) -> list[str]:
        """The objectives in which the rung says little about the last one."""
        return [name for name, one in self.correlations.items() if one and one.value < WEAK]

    @property
    def foretells(self) -> float | None:
        """How well the rung foretells the last: `order`, else the objectives' median correlation;
        None under FEWEST trials."""
        found = [one.value for one in self.correlations.values() if one]
        if self.trials < FEWEST or not (found or self.order):
            return None
        return self.order.value if self.order else float(np.median(found))

    @property
    def warning(self) -> str | None:
        """One line where the rung is no ground to stop trials on, and what to do."""
        if self.foretells is None or self.foretells >= WEAK:
            return None
        return (
            f"step {self.step} says little about the last rung (rank correlation "
            f"{self.foretells:.2f} over {self.trials} trials): raise it in budget.rungs, or let "
            "all trials go on with budget.keep: 1"
        )


@dataclass(frozen=True)
class Cause:
    """Why trials did not complete: a state, the cause in words, and who they are."""

    state: str
    words: str
    trials: tuple[int, ...]


def hypervolumes(points: Sequence[Sequence[float]]) -> list[float]:
    """The share of the unit cube that the points up to each one dominate; all maximised.

    Counted on 16,384 scrambled Sobol points with a fixed seed: in four dimensions the error is
    below 0.005, and a later point never lowers it. A point with a NaN dominates nothing.
    """
    if not points:
        return []
    dimensions = len(points[0])
    grid = qmc.Sobol(dimensions, rng=np.random.default_rng(0)).random_base2(_LOG_POINTS)
    dominated = np.zeros(len(grid), bool)
    found = []
    for point in np.asarray(points, np.float64):
        dominated |= (grid <= point).all(axis=1)
        found.append(float(dominated.mean()))
    return found


def course(
    trials: Sequence[TrialRow], last: Mapping[int, RungRow], objectives: Sequence[str]
) -> list[Step]:
    """The hypervolume of the complete trials after each trial that is over, against its seconds.

    `last` is each trial's last rung. Trials count in the order in which they began.
    """
    over = sorted(
        (one for one in trials if one.state in _ENDED and one.seconds is not None),
        key=lambda one: (one.begun, one.number),
    )
    nothing = [float("nan")] * len(objectives)
    points = [
        [last[one.number].objectives[name].value for name in objectives]
        if one.state == "complete" and one.number in last
        else nothing
        for one in over
    ]
    seconds = np.cumsum([one.seconds or 0.0 for one in over])
    return [
        Step(one.number, float(at), volume)
        for one, at, volume in zip(over, seconds, hypervolumes(points), strict=True)
    ]


def agreements(
    trials: Sequence[TrialRow], rungs: Mapping[int, Sequence[RungRow]], objectives: Sequence[str]
) -> list[RungAgreement]:
    """Each rung below the last, by step: how many were stopped there, how well it foretells the
    order at the last rung.

    Only trials that came to their last rung can tell; those that are done again count nowhere.
    """
    states = {one.number: one.state for one in trials if one.state != "interrupted"}
    known = {number: of for number, of in rungs.items() if number in states}
    whole = {number for number in known if states[number] in ("complete", "infeasible")}
    steps: dict[int, dict[int, RungRow]] = {}
    for number, of in known.items():
        for one in of[:-1] if number in whole else of:
            steps.setdefault(one.step, {})[number] = one
    found = []
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
        found.append(RungAgreement(step, len(there), len(stopped), len(both), order, correlations))
    return found


def rung_lines(found: Sequence[RungAgreement]) -> list[str]:
    """What `agreements` found, a line for each rung and one for each that is no good."""
    lines = []
    for one in found:
        told = {"order": one.order, **one.correlations}
        words = ", ".join(f"{name} {each.value:+.2f}" for name, each in told.items() if each)
        stopped = f", {one.stopped} stopped there" if one.stopped else ""
        lines.append(
            f"step {one.step}: {one.reached} trials{stopped}; rank correlation with the last rung: "
            + (f"{words} (over {one.trials} trials)" if words else "too few trials have both")
        )
    return lines + [f"warning: {one.warning}" for one in found if one.warning]


def _values(rungs: Sequence[RungRow], objectives: Sequence[str]) -> Floats:
    """Shape (rungs, objectives), NaN for one that was not measured."""
    rows = [[one.objectives.get(name) for name in objectives] for one in rungs]
    numbers = [[float("nan") if one is None else one.value for one in row] for row in rows]
    return np.array(numbers, np.float64).reshape(len(rungs), len(objectives))


def _ranks(values: Floats) -> Floats:
    """The non-dominated rank of each row, NaN for one without all its numbers."""
    ranks = np.full(len(values), np.nan)
    whole = np.flatnonzero(np.isfinite(values).all(axis=1))
    for rank, members in enumerate(fronts(values[whole])):
        ranks[whole[members]] = rank
    return ranks


def _correlation(early: Floats, late: Floats) -> Estimate | None:
    both = np.isfinite(early) & np.isfinite(late)
    return rank_correlation(early[both], late[both])


def phase_seconds(phases: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Seconds by phase, the longest first."""
    sums: dict[str, float] = {}
    for name, seconds in phases:
        sums[name] = sums.get(name, 0.0) + seconds
    return dict(sorted(sums.items(), key=lambda one: -one[1]))


def causes(trials: Sequence[TrialRow]) -> list[Cause]:
    """The trials that are over and did not complete, by state and cause, the commonest first."""
    found: dict[tuple[str, str], list[int]] = {}
    for one in trials:
        if one.state in _ENDED and one.state != "complete":
            found.setdefault((one.state, _cause(one)), []).append(one.number)
    grouped = [Cause(state, words, tuple(of)) for (state, words), of in found.items()]
    return sorted(grouped, key=lambda one: (-len(one.trials), one.state, one.words))


def _cause(trial: TrialRow) -> str:
    """What its reason has in common with those of other trials: no numbers of its own."""
    reason = trial.reason or "no reason was kept"
    if trial.state == "infeasible":
        broken = [part.split(" ", 1)[0] for part in reason.split("; ")]
        return " and ".join(broken) + " over the limit"
    return reason.split(":", 1)[0] if trial.state in ("pruned", "stopped") else reason
