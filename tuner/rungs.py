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
from dataclasses import dataclass

import numpy as np

from metrics.contract import Image, Objective, ScoredSample
from metrics.pareto import crowding, fronts

FLAT = 1 / 255
"""Below this standard deviation of its values in [0, 1] a picture shows nothing."""


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


def is_flat(image: Image) -> bool:
    """True for a picture of one colour, such as the black one that weights of NaN decode to.

    The spread is taken over the pixels of each channel: one even tint is flat too.
    """
    pixels = image.reshape(-1, image.shape[-1]).astype(np.float32) / 255
    return float(pixels.std(axis=0).max()) < FLAT


def hard_failure(scored: Sequence[ScoredSample]) -> str | None:
    """Why a trial must stop at this rung whatever its scores are, or None when it may go on.

    Collapse: at least half of the samples show nothing.
    """
    if not scored:
        return "no samples"
    flat = sum(is_flat(one.sample.image) for one in scored)
    if 2 * flat >= len(scored):
        return f"collapsed: {flat} of {len(scored)} samples show nothing but one colour"
    return None


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
