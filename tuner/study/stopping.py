"""Decide which trials continue after a rung: pure functions of the measured objectives and rates.

A trial whose pictures collapsed to one colour, or that certainly breaks a limit, stops at once.
The others are compared with the trials that have reached the same rung so far, without waiting
for more, as in ASHA (Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning). Here
there are several objectives: trials are sorted by non-dominated rank, then by crowding distance
(Deb et al. 2002, NSGA-II); trials that break a limit come after all that keep them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metrics.contract import Objective
from metrics.pareto import Floats, crowding, fronts
from tuner.events import TrialState
from tuner.space import StudyConfig
from tuner.storage import Store
from tuner.storage.rows import RungRow


@dataclass(frozen=True)
class Standing:
    """A trial at a rung: its objectives, all maximised and finite, and `over`, by how much in all
    its rates certainly exceed their limits (0: every limit is kept)."""

    values: tuple[float, ...]
    over: float = 0.0


@dataclass(frozen=True)
class Rival:
    """A trial at a rung of `seeds` noise seeds; `standing` is None if it is not compared."""

    seeds: int | None
    standing: Standing | None


Rivals = dict[int, dict[int | None, Rival]]
"""The trials at each rung that were read so far, by step and number."""


@dataclass(frozen=True)
class Place:
    """A trial's place at a rung, 1 is best, among the `of` trials that reached it, itself included.

    The best `goes_on` of them continue.
    """

    place: int
    of: int
    goes_on: int

    @property
    def stops(self) -> bool:
        """True if the trial ends at this rung."""
        return self.place > self.goes_on


def excesses(rates: Mapping[str, Objective], limits: Mapping[str, float]) -> dict[str, float]:
    """Return the lower bound of each limited rate minus its limit; above 0 the limit is broken.

    The lower bound is used so that a limit counts as broken on evidence, not by bad luck in few
    samples.
    """
    return {name: rates[name].low - limit for name, limit in limits.items()}


def broken(rates: Mapping[str, Objective], limits: Mapping[str, float]) -> str | None:
    """Return a message with the limits that are certainly broken; None if there are none."""
    messages = [
        f"{name} is at least {rates[name].low:.2f}, allowed {limits[name]:.2f}"
        for name, by in excesses(rates, limits).items()
        if by > 0
    ]
    return "; ".join(messages) or None


def beyond_hope(
    rates: Mapping[str, Objective], base: Mapping[str, Objective], limits: Mapping[str, float]
) -> str | None:
    """Return a message with the broken limits that more training will not help; None without any.

    Such a rate is certainly above its limit and no better than that of the base. Where the base
    breaks the limit too, a LoRA that has improved on it may still reach the limit.
    """
    hopeless = {
        name: limit
        for name, limit in limits.items()
        if name not in base or rates[name].low > base[name].value
    }
    return broken(rates, hopeless)


def place(mine: Standing, others: Sequence[Standing], keep: float, keep_from: int) -> Place | None:
    """Return the place of a trial among the others at the same rung; None while they are too few.

    At most the share `keep` continues, and at least one trial; equal trials share the better
    place. Trials are compared once `keep_from` of them reached the rung, this one included.
    """
    count = 1 + len(others)
    if keep >= 1 or count < keep_from:
        return None
    # 0.29 * 100 is 28.999... in floating point and has to give 29.
    goes_on = max(1, math.floor(keep * count + 1e-9))
    return Place(1 + _ahead(mine, others), count, goes_on)


def _ahead(mine: Standing, others: Sequence[Standing]) -> int:
    """Return how many of `others` come before a trial, as `sort_keys` orders them."""
    if mine.over > 0:
        return sum(other.over < mine.over for other in others)
    sound = [mine, *(other for other in others if other.over <= 0)]
    values = np.array([each.values for each in sound], np.float64)
    before = 0
    for members in fronts(values):
        if members[0] == 0:  # only trials of its own front differ in their crowding
            first, *rest = _keys_in_front(values[members])
            return before + sum(key < first for key in rest)
        before += len(members)
    raise AssertionError("a trial is in one of the fronts")


def places(standings: Sequence[Standing]) -> list[int]:
    """Return the place of each trial, 1 is best; equal trials share the better place.

    Kept limits come before broken ones, then the non-dominated rank counts, then the crowding
    distance, then the mean of the objectives.
    """
    keys = sort_keys(standings)
    return [1 + sum(other < key for other in keys) for key in keys]


def sort_keys(standings: Sequence[Standing]) -> list[tuple[float, ...]]:
    """Return the keys that `places` sorts by, the best trial has the lowest."""
    keys: list[tuple[float, ...]] = [(trial.over, 0.0, 0.0, 0.0) for trial in standings]
    sound = [index for index, trial in enumerate(standings) if trial.over <= 0]
    values = np.array([standings[index].values for index in sound], np.float64)
    for rank, members in enumerate(fronts(values)):
        for member, key in zip(members, _keys_in_front(values[members]), strict=True):
            keys[sound[member]] = (0.0, float(rank), *key)
    return keys


def _keys_in_front(values: Floats) -> list[tuple[float, float]]:
    """Return the keys by which the trials of one front are sorted, with these objectives."""
    means = values.mean(axis=1).tolist()
    return [(-room, -mean) for room, mean in zip(crowding(values), means, strict=True)]


_NO_RIVALS = ("pruned", "interrupted")
"""States of trials with which no other trial is compared: they failed because of their parameters,
or are run again."""


@dataclass(frozen=True)
class Ending:
    """The end of a trial; `trace` is the traceback of a failure.

    `behind`, in (0, 1] for a stopped trial, is its distance from continuing.
    """

    state: TrialState
    reason: str | None = None
    values: tuple[float, ...] = ()
    constraints: Mapping[str, float] = field(default_factory=dict)
    behind: float = 0.0
    trace: str = ""


def final_ending(config: StudyConfig, rung: RungRow) -> Ending:
    """Return the ending of a trial that reached its last rung, `rung`."""
    values = _values(config, rung.objectives)
    for name, value in zip(config.objectives, values, strict=True):
        if not math.isfinite(value):
            return Ending("failed", f"the objective {name} is {value}")
    over = excesses(rung.rates, config.constraints)
    reason = broken(rung.rates, config.constraints)
    return Ending("infeasible" if reason else "complete", reason, values, over)


def early_ending(
    config: StudyConfig,
    store: Store,
    rung: RungRow,
    known: Rivals | None = None,
) -> Ending | None:
    """Return the ending of a trial that has to stop at `rung`; None if it continues.

    `rung` is not the trial's last one and is stored in results.db. `known` has the rivals that are
    not read again, and takes up new ones; one that is stored again has to be taken out.
    """
    budget, limits = config.budget, config.constraints
    mine = _standing(config, rung)
    if budget.keep >= 1 or mine is None:
        return None
    values, over = mine.values, excesses(rung.rates, limits)
    base = store.base_rates()
    if reason := beyond_hope(rung.rates, base, limits):
        reason = f"over a limit at step {rung.step}: {reason}"
        return Ending("stopped", reason, values, over, min(1.0, mine.over))
    there = {} if known is None else known.setdefault(rung.step, {})
    for row in store.rungs_at(rung.step, there):
        standing = _standing(config, row)
        if standing and standing.over and beyond_hope(row.rates, base, limits):
            standing = None
        there[row.trial] = Rival(row.seeds, standing)
    own = place(mine, _standings(store, rung, there), budget.keep, budget.keep_from)
    if own is None or not own.stops:
        return None
    best = "the best goes on" if own.goes_on == 1 else f"the best {own.goes_on} go on"
    reason = f"behind at step {rung.step}: place {own.place} of {own.of}, {best}"
    return Ending("stopped", reason, values, over, (own.place - own.goes_on) / own.of)


def _standings(store: Store, rung: RungRow, there: Mapping[int | None, Rival]) -> list[Standing]:
    """Return those of the other trials `there` that were sampled on the same cells."""
    out = {number for number, state in store.states().items() if state in _NO_RIVALS} | {rung.trial}
    return [
        rival.standing
        for number, rival in there.items()
        if rival.standing and rival.seeds == rung.seeds and number not in out
    ]


def _standing(config: StudyConfig, rung: RungRow) -> Standing | None:
    """Return the trial at a rung; None if an objective is not finite and cannot be compared."""
    values = _values(config, rung.objectives)
    if not all(map(math.isfinite, values)):
        return None
    over = [max(0.0, rung.rates[name].low - by) for name, by in config.constraints.items()]
    return Standing(values, sum(over))


def _values(config: StudyConfig, objectives: Mapping[str, Objective]) -> tuple[float, ...]:
    """Return the study's objectives in their order, NaN for one that was not measured."""
    return tuple(
        [objectives[name].value if name in objectives else math.nan for name in config.objectives]
    )
