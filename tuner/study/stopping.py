"""Who goes on at a rung. Pure functions of what was sampled; nothing here is kept or drawn.

Hard failures stop at once: nothing but one colour, or a limit that is broken beyond doubt. The
others are compared with those that have reached the same rung so far, and with nobody that has
still to come, as in ASHA (Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning),
here for several objectives: by non-dominated rank, then by crowding distance (Deb et al. 2002,
NSGA-II), those that break a limit behind all that keep them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metrics.contract import Objective
from metrics.pareto import crowding, fronts
from tuner.events import TrialState
from tuner.space import StudyConfig
from tuner.storage import Store
from tuner.storage.rows import RungRow


@dataclass(frozen=True)
class Standing:
    """A trial at a rung: its objectives, all maximised and finite, and by how much it is beyond
    doubt over its limits, all limits together (0: over none)."""

    values: tuple[float, ...]
    over: float = 0.0


@dataclass(frozen=True)
class Place:
    """A trial's place at a rung, 1 is best, among the `of` that reached it, itself included.

    The best `goes_on` of them go on.
    """

    place: int
    of: int
    goes_on: int

    @property
    def stops(self) -> bool:
        """Whether the trial ends here."""
        return self.place > self.goes_on


def excesses(rates: Mapping[str, Objective], limits: Mapping[str, float]) -> dict[str, float]:
    """How far the lower bound of each limited rate lies above its limit; below 0 it keeps it.

    A rate breaks its limit when its lower bound is above it: that is evidence, and not bad luck
    in few samples.
    """
    return {name: rates[name].low - limit for name, limit in limits.items()}


def broken(rates: Mapping[str, Objective], limits: Mapping[str, float]) -> str | None:
    """The limits that are broken beyond doubt, in words; None where there are none."""
    told = [
        f"{name} is at least {rates[name].low:.2f}, allowed {limits[name]:.2f}"
        for name, by in excesses(rates, limits).items()
        if by > 0
    ]
    return "; ".join(told) or None


def beyond_hope(
    rates: Mapping[str, Objective], base: Mapping[str, Objective], limits: Mapping[str, float]
) -> str | None:
    """Why no more training is worth while for a limit's sake, or None.

    That is a rate that is above its limit beyond doubt, and no better than the base's own: where
    the base breaks the limit too, a LoRA that is half-way to keeping it may get there.
    """
    hopeless = {
        name: limit
        for name, limit in limits.items()
        if name not in base or rates[name].low > base[name].value
    }
    return broken(rates, hopeless)


def place(mine: Standing, others: Sequence[Standing], keep: float, keep_from: int) -> Place | None:
    """The place of a trial among the others at the same rung; None while there are too few.

    At most the share `keep` goes on, and at least one; equals share the better place. Nobody is
    compared before `keep_from` trials are there, this one included.
    """
    count = 1 + len(others)
    if keep >= 1 or count < keep_from:
        return None
    # Of 100 trials 0.29 are 29, also for numbers that end in ...99.
    goes_on = max(1, math.floor(keep * count + 1e-9))
    first, *rest = sort_keys([mine, *others])
    return Place(1 + sum(one < first for one in rest), count, goes_on)


def places(standings: Sequence[Standing]) -> list[int]:
    """The place of each, 1 is best: limits kept before broken, then by non-dominated rank, then
    by crowding distance, then by the mean of the objectives. Equals share the better place."""
    keys = sort_keys(standings)
    return [1 + sum(other < key for other in keys) for key in keys]


def sort_keys(standings: Sequence[Standing]) -> list[tuple[float, ...]]:
    """What `places` sorts by, the best lowest."""
    keys: list[tuple[float, ...]] = [(one.over, 0.0, 0.0, 0.0) for one in standings]
    sound = [index for index, one in enumerate(standings) if one.over <= 0]
    values = np.array([standings[index].values for index in sound], np.float64)
    for rank, members in enumerate(fronts(values)):
        for member, distance in zip(members, crowding(values[members]), strict=True):
            mean = float(values[member].mean())
            keys[sound[member]] = (0.0, float(rank), -distance, -mean)
    return keys


_NO_RIVALS = ("pruned", "interrupted")
"""Trials that broke down, however good they were before, and those that are done again."""


@dataclass(frozen=True)
class Ending:
    """How a trial ended; `trace` is the traceback of a failure.

    `behind` says how far a stopped trial was from going on, in (0, 1].
    """

    state: TrialState
    reason: str | None = None
    values: tuple[float, ...] = ()
    constraints: Mapping[str, float] = field(default_factory=dict)
    behind: float = 0.0
    trace: str = ""


def judged(config: StudyConfig, rung: RungRow) -> Ending:
    """How a trial stands at its last rung."""
    values = _values(config, rung.objectives)
    for name, value in zip(config.objectives, values, strict=True):
        if not math.isfinite(value):
            return Ending("failed", f"the objective {name} is {value}")
    over = excesses(rung.rates, config.constraints)
    reason = broken(rung.rates, config.constraints)
    return Ending("infeasible" if reason else "complete", reason, values, over)


def stopped(config: StudyConfig, store: Store, rung: RungRow) -> Ending | None:
    """Why a trial does not go on from `rung`, which lies below its last and in results.db; None
    where it does."""
    budget, limits = config.budget, config.constraints
    mine = _standing(config, rung)
    if budget.keep >= 1 or mine is None:
        return None
    values, over = mine.values, excesses(rung.rates, limits)
    base = next((one.rates for one in store.rungs(None)), {})
    if reason := beyond_hope(rung.rates, base, limits):
        reason = f"over a limit at step {rung.step}: {reason}"
        return Ending("stopped", reason, values, over, min(1.0, mine.over))
    rivals = [
        standing
        for one in _rivals(store, rung)
        if not beyond_hope(one.rates, base, limits) and (standing := _standing(config, one))
    ]
    found = place(mine, rivals, budget.keep, budget.keep_from)
    if found is None or not found.stops:
        return None
    best = "the best goes on" if found.goes_on == 1 else f"the best {found.goes_on} go on"
    reason = f"behind at step {rung.step}: place {found.place} of {found.of}, {best}"
    return Ending("stopped", reason, values, over, (found.place - found.goes_on) / found.of)


def _rivals(store: Store, rung: RungRow) -> list[RungRow]:
    """The other trials that reached the rung, of those that were sampled there on its cells."""
    out = {one.number for one in store.trials() if one.state in _NO_RIVALS} | {rung.trial}
    return [
        one for one in store.rungs_at(rung.step) if one.trial not in out and one.seeds == rung.seeds
    ]


def _standing(config: StudyConfig, rung: RungRow) -> Standing | None:
    """The trial at a rung; None where an objective has no number, which compares with nothing."""
    values = _values(config, rung.objectives)
    if not all(map(math.isfinite, values)):
        return None
    over = excesses(rung.rates, config.constraints).values()
    return Standing(values, sum(max(0.0, by) for by in over))


def _values(config: StudyConfig, objectives: Mapping[str, Objective]) -> tuple[float, ...]:
    """The objectives of the study in their order, NaN for one that was not measured."""
    found = (objectives.get(name) for name in config.objectives)
    return tuple(math.nan if one is None else one.value for one in found)
