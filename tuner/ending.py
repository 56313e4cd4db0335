"""How a trial ends by what was measured of it: at its last rung, or before it at a rung.

Whether a trial goes on is read off results.db alone, so that a study that was killed and taken up
again decides as it would have without the break.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from metrics.contract import Objective
from tuner.config import StudyConfig
from tuner.events import TrialState
from tuner.rows import RungRow
from tuner.rungs import Standing, beyond_hope, broken, excesses, place
from tuner.store import Store

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
