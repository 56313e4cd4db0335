"""How a study went: what it gained for its seconds, how its rungs agree, where time went. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from tuner.effects import Estimate, rank_correlation
from tuner.rows import RungRow, TrialRow

WEAK = 0.5
"""Below this rank correlation a rung says little about the last one."""

_LOG_POINTS = 14
_ENDED = ("complete", "infeasible", "pruned", "failed", "interrupted")


@dataclass(frozen=True)
class Step:
    """The hypervolume after a trial: `seconds` of all trials so far."""

    trial: int
    seconds: float
    hypervolume: float


@dataclass(frozen=True)
class RungAgreement:
    """How a rung orders the trials compared with their last rung, by objective.

    `step` is where most trials have it; None for an objective of which too few trials have both.
    """

    step: int
    trials: int
    correlations: Mapping[str, Estimate | None]

    @property
    def weak(self) -> list[str]:
        """The objectives in which the rung says little about the last one."""
        return [name for name, one in self.correlations.items() if one and one.value < WEAK]


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
    rungs: Mapping[int, Sequence[RungRow]], objectives: Sequence[str]
) -> list[RungAgreement]:
    """How well each rung but the last foretells the order of the trials at the last.

    Only trials that came to the last rung count: of the others the last is not known.
    """
    most = max((len(of) for of in rungs.values()), default=0)
    whole = [of for of in rungs.values() if len(of) == most]
    found = []
    for place in range(most - 1):
        pairs = [(of[place], of[-1]) for of in whole]
        steps = Counter(early.step for early, _ in pairs)
        correlations = {
            name: rank_correlation(
                np.array([early.objectives[name].value for early, _ in pairs]),
                np.array([late.objectives[name].value for _, late in pairs]),
            )
            for name in objectives
        }
        found.append(RungAgreement(steps.most_common(1)[0][0], len(pairs), correlations))
    return found


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
    return reason.split(":", 1)[0] if trial.state == "pruned" else reason
