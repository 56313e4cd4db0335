"""The effect of each parameter on an objective, with intervals. Pure functions.

The sampler chose the trials, so parameters vary together: association is measured here, not cause.
All intervals of one objective hold together with 95 % (Bonferroni over the parameters), so that
among many parameters without effect none appears significant by chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from tuner.text import word

Floats = npt.NDArray[np.float64]

FEWEST = 8
"""Fewest trials for which the effect of a parameter is estimated."""

_MISS = 0.05
_FEWEST_IN_GROUP = 3
_GROUPS = 4
_MOST_F = 1e4


@dataclass(frozen=True)
class Interval:
    """A number with its interval; `words` is its kind, such as `rank correlation`."""

    value: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class Effect:
    """Association of a parameter with an objective over `trials` trials.

    `share` is the share of the objective's variation that goes along with the parameter, 0 to 1;
    `effect` is the direction. Both are None if the trials do not allow an estimate. `numeric`: the
    parameter's values have an order.
    """

    parameter: str
    numeric: bool
    trials: int
    share: Interval | None
    effect: Interval | None

    @property
    def known(self) -> bool:
        """True if there is evidence that the parameter matters, or in which direction."""
        share = self.share is not None and self.share.low > 0
        return share or (self.effect is not None and excludes_zero(self.effect))


def excludes_zero(interval: Interval) -> bool:
    """Return True if the interval lies on one side of zero."""
    return interval.low > 0 or interval.high < 0


def effects(parameters: Sequence[Mapping[str, object]], values: Sequence[float]) -> list[Effect]:
    """Return the effect on `values` of every varied parameter; one value for each trial.

    The parameter with the largest share comes first.
    """
    names = list(dict.fromkeys(name for own in parameters for name in own))
    columns = {
        name: [
            (own[name], value) for own, value in zip(parameters, values, strict=True) if name in own
        ]
        for name in names
    }
    varied = {
        name: pairs
        for name, pairs in columns.items()
        if len({str(level) for level, _ in pairs}) > 1
    }
    miss = _MISS / max(1, len(varied))
    every = [_effect(name, pairs, miss) for name, pairs in varied.items()]
    return sorted(every, key=lambda effect: -(effect.share.value if effect.share else -1.0))


def is_numeric(levels: Sequence[object]) -> bool:
    """Return True if all levels are numbers and there are more than two different ones."""
    numbers = all(
        isinstance(level, (int, float)) and not isinstance(level, bool) for level in levels
    )
    return numbers and len(set(levels)) > 2


def _effect(name: str, pairs: Sequence[tuple[object, float]], miss: float) -> Effect:
    levels = [level for level, _ in pairs]
    values = np.array([value for _, value in pairs], np.float64)
    numeric = is_numeric(levels)
    if len(pairs) < FEWEST or np.ptp(values) == 0:
        return Effect(name, numeric, len(pairs), None, None)
    if numeric:
        numbers = np.array(levels, np.float64)
        effect = rank_correlation(numbers, values, miss)
        groups = _quantile_groups(numbers)
    else:
        groups = [word(level) for level in levels]
        effect = _largest_difference(groups, values, miss)
    return Effect(name, numeric, len(pairs), _share(groups, values, miss), effect)


def rank_correlation(a: Floats, b: Floats, miss: float = _MISS) -> Interval | None:
    """Return Spearman's correlation with its interval (Bonett and Wright 2000).

    The interval misses the true value with the probability `miss`. Returns None for fewer than five
    pairs, or if one side is constant.
    """
    if len(a) < 5 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    rho = float(stats.spearmanr(a, b).statistic)
    inside = max(-0.9999, min(0.9999, rho))
    half = float(stats.norm.ppf(1 - miss / 2)) * math.sqrt((1 + inside**2 / 2) / (len(a) - 3))
    low, high = math.tanh(math.atanh(inside) - half), math.tanh(math.atanh(inside) + half)
    return Interval(rho, min(low, rho), max(high, rho), "rank correlation")


def difference_of_means(a: Floats, b: Floats, words: str, miss: float = _MISS) -> Interval | None:
    """Return the mean of `a` minus that of `b`, values in [0, 1], with Welch's interval (1947).

    The interval misses the true value with the probability `miss`. Returns None for fewer than
    three values on a side, or if the values of each side are all equal.
    """
    if min(len(a), len(b)) < _FEWEST_IN_GROUP:
        return None
    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    if parts.sum() == 0:
        return None
    freedom = parts.sum() ** 2 / (parts**2 / np.array([len(a) - 1, len(b) - 1])).sum()
    half = float(stats.t.ppf(1 - miss / 2, freedom)) * math.sqrt(parts.sum())
    value = float(a.mean() - b.mean())
    return Interval(value, max(-1.0, value - half), min(1.0, value + half), words)


def _largest_difference(groups: Sequence[str], values: Floats, miss: float) -> Interval | None:
    """Return the value that differs most, in standard errors, from all others."""
    names, which = sorted(set(groups)), np.array(groups)
    if len(names) == 2:
        a, b = names
        return difference_of_means(values[which == a], values[which == b], f"{a} minus {b}", miss)
    differences = [
        difference_of_means(
            values[which == name],
            values[which != name],
            f"{name} minus the rest",
            miss / len(names),
        )
        for name in names
    ]
    known = [each for each in differences if each is not None]
    return max(known, key=lambda each: abs(each.value) / (each.high - each.value), default=None)


def _quantile_groups(numbers: Floats) -> list[str]:
    """Return the group of each number.

    It is the number itself if there are few different ones, else one of up to four quantiles.
    """
    distinct = np.unique(numbers)
    if len(distinct) <= _GROUPS:
        return [word(float(number)) for number in numbers]
    count = min(_GROUPS, max(2, len(numbers) // 5))
    edges = np.quantile(numbers, np.linspace(0, 1, count + 1)[1:-1])
    return [str(int(place)) for place in np.searchsorted(edges, numbers, side="left")]


def _share(groups: Sequence[str], values: Floats, miss: float) -> Interval | None:
    """Return the share of the ranks' variance between the groups: omega squared, never below 0.

    An analysis of variance of ranks (Conover and Iman 1981), so that one collapsed trial does not
    dominate; the interval inverts the noncentral F distribution (Steiger 2004).
    """
    ranks = stats.rankdata(values)
    which = np.unique(np.array(groups), return_inverse=True)[1]
    members = [ranks[which == index] for index in range(which.max() + 1)]
    count, total = len(members), len(ranks)
    if count < 2 or total - count < 3:
        return None
    between = sum(len(group) * (group.mean() - ranks.mean()) ** 2 for group in members) / (
        count - 1
    )
    within = sum(((group - group.mean()) ** 2).sum() for group in members) / (total - count)
    ratio = min(_MOST_F, float(between / within)) if within > 0 else _MOST_F
    # The usual estimate of the noncentrality: F minus its value by chance.
    centre = max(0.0, (count - 1) * (ratio - 1))
    low, high = (
        _noncentrality(ratio, (count - 1, total - count), p) for p in (1 - miss / 2, miss / 2)
    )
    shares = sorted(
        noncentrality / (noncentrality + total) for noncentrality in (low, centre, high)
    )
    return Interval(centre / (centre + total), shares[0], shares[-1], "share of the variation")


def _noncentrality(ratio: float, freedom: tuple[int, int], below: float) -> float:
    """Return the noncentrality for which an F value is below `ratio` with probability `below`."""

    def gap(noncentrality: float) -> float:
        return float(stats.ncf.cdf(ratio, *freedom, noncentrality)) - below

    if gap(0.0) <= 0:
        return 0.0
    top = 1.0
    while gap(top) > 0 and top < 1e6:
        top *= 2
    return float(optimize.brentq(gap, 0.0, top, xtol=1e-3)) if gap(top) < 0 else top
