"""Intervals for rates and for numbers made of rates. Pure functions, 95 % throughout."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Floats = npt.NDArray[np.float64]

DRAWS = 4000
_Z = 1.959963984540054  # two-sided 95 % of the normal distribution


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Return Wilson's score interval of a rate (Wilson 1927); (0, 1) when nothing was counted.

    `successes` may be a sum of values in [0, 1]: the interval is then wider than necessary.
    """
    if n == 0:
        return 0.0, 1.0
    rate, spread = successes / n, _Z * _Z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(rate * (1 - rate) / n + spread / (4 * n))
    # At a rate of 0 or 1 the bound is exact, and rounding must not move it past the rate.
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= n else min(1.0, centre + half)
    return low, high


def beta_draws(successes: float, n: int, rng: np.random.Generator) -> Floats:
    """Draw DRAWS times from a rate's posterior, Beta(k + 1/2, n - k + 1/2) (Jeffreys' prior)."""
    return rng.beta(successes + 0.5, n - successes + 0.5, size=DRAWS)


def mean_interval(values: Floats) -> tuple[float, float]:
    """Return Student's interval of a mean; the mean itself twice for a single value.

    Raises ValueError for no value.
    """
    if not len(values):
        raise ValueError("cannot take the mean of no values")
    mean, n = float(values.mean()), len(values)
    if n == 1:
        return mean, mean
    half = float(stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def ratio_draws(above: Floats, below: Floats, rng: np.random.Generator) -> Floats:
    """Draw DRAWS times sum(above) / sum(below), both of the same items, shape (items,).

    A paired Bayesian bootstrap over the items (Rubin 1981).
    """
    weights = rng.dirichlet(np.ones(len(above)), size=DRAWS)
    return np.asarray((weights @ above) / (weights @ below), np.float64)


def central(draws: Floats, value: float) -> tuple[float, float]:
    """Return the middle 95 % of the draws, widened to include the value itself.

    A rate of 1 lies above the draws of its own posterior: the observed value must stay inside.
    """
    low, high = np.quantile(draws, [0.025, 0.975])
    return min(float(low), value), max(float(high), value)


def dirichlet_weights(cells: int, rng: np.random.Generator) -> Floats:
    """Return the weights of a paired Bayesian bootstrap (Rubin 1981), shape (DRAWS, cells + 2).

    The last two columns are half a cell each, for one imagined cell in favour of either side.
    Without them, two trials that agree on every cell would differ by [0, 0], as if n were endless
    (the same repair for a paired difference of rates is Agresti and Min 2005).
    """
    return rng.dirichlet(np.r_[np.ones(cells), 0.5, 0.5], size=DRAWS)
