"""The uncertainty of comparing LoRAs: draws of objectives, and paired differences of strength.

The strength of a LoRA is the geometric mean of a study's objectives.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.contract import Objective, ScoredSample
from metrics.intervals import DRAWS, Floats, central, dirichlet_weights
from metrics.objectives import FORMULAS, Difference, Formula

STRENGTH = "strength"

_SEED = 0
_Z = 1.959963984540054  # two-sided 95 % of the normal distribution
_IMAGINED = ((1.0, 0.0), (0.0, 1.0))


@dataclass(frozen=True)
class Judged:
    """The scored samples of one LoRA on a suite, and the resulting objectives."""

    scored: Sequence[ScoredSample]
    objectives: Mapping[str, Objective]


def draws(name: str, judged: Judged, base: Judged | None, rng: np.random.Generator) -> Floats:
    """Draw DRAWS times from the posterior of an objective, each in [0, 1].

    For an objective of metrics.objectives, each cell is drawn from Beta(k + 1/2, n - k + 1/2)
    (Jeffreys' prior) and the formula joins the cells. The result is multiplied by the factor for
    abstentions, which is drawn too: min(1, ours / base's) of the shares that could be judged. A
    measure of the set has no cells: it is drawn from a normal distribution with its own interval.
    """
    if name not in FORMULAS:
        measure = judged.objectives[name]
        spread = (measure.high - measure.low) / (2 * _Z)
        return np.clip(rng.normal(measure.value, spread, DRAWS), 0.0, 1.0)
    formula = FORMULAS[name]
    known = [values[~np.isnan(values)] for values in formula.cells(judged.scored).values()]
    means = [rng.beta(v.sum() + 0.5, len(v) - v.sum() + 0.5, DRAWS) for v in known]
    factor = 1.0 if base is None else _factor_draws(judged.objectives[name], base, rng)
    return np.asarray(factor * formula.combine(np.stack(means)), np.float64)


def strength(objectives: Floats) -> Floats:
    """Return the geometric mean over the first axis, shape (objectives, ...)."""
    positive = np.maximum(objectives, 0.0)
    return np.asarray(np.prod(positive, axis=0) ** (1.0 / len(positive)), np.float64)


def strength_difference(
    ours: Judged, theirs: Judged, names: Sequence[str], base: Judged | None
) -> Difference:
    """Return the strength of `ours` minus that of `theirs`, paired, with its 95 % interval.

    Pairs have the same prompt and seed. A paired Bayesian bootstrap over the suite's samples (Rubin
    1981): a sample weighs as much in every objective and on both sides. The factors for abstentions
    are held fixed; measures of the set are drawn for each side by itself. Raises ValueError where
    prompts or seeds differ.
    """
    cells = [[item.sample.cell for item in side.scored] for side in (ours, theirs)]
    if cells[0] != cells[1]:
        raise ValueError("a paired difference needs the same prompts and seeds in the same order")
    rng = np.random.default_rng(_SEED)
    sides = [
        strength(np.stack([_weighed(name, side, base, favour, rng) for name in names]))
        for side, favour in zip((ours, theirs), _IMAGINED, strict=True)
    ]
    values = [
        float(strength(np.array([side.objectives[name].value for name in names])))
        for side in (ours, theirs)
    ]
    value = values[0] - values[1]
    low, high = central(sides[0] - sides[1], value)
    return Difference(STRENGTH, value, low, high, len(cells[0]))


def _weighed(
    name: str,
    judged: Judged,
    base: Judged | None,
    imagined: tuple[float, float],
    rng: np.random.Generator,
) -> Floats:
    """Draw an objective, its samples and the two imagined ones weighed anew in each draw."""
    weights = _weights(len(judged.scored))
    if name not in FORMULAS:
        return draws(name, judged, base, rng)[: len(weights)]
    formula = FORMULAS[name]
    means = []
    for values in _aligned(formula, judged.scored):
        whole = np.r_[values, imagined]
        known = ~np.isnan(whole)
        means.append((weights @ np.where(known, whole, 0.0)) / (weights @ known))
    return _factor(name, judged, base) * formula.combine(np.stack(means))


@functools.lru_cache(maxsize=1)
def _weights(samples: int) -> Floats:
    """Return the same weights for every pair of LoRAs, so that all are compared alike."""
    return dirichlet_weights(samples, np.random.default_rng(_SEED))


def _aligned(formula: Formula, scored: Sequence[ScoredSample]) -> list[Floats]:
    """Return each cell's value of every sample, shape (samples,); NaN where it has none there."""
    rows = [formula.cells([item]) for item in scored]
    names = dict.fromkeys(name for row in rows for name in row)
    return [
        np.array([row[name][0] if name in row else np.nan for row in rows], np.float64)
        for name in names
    ]


def _factor(name: str, judged: Judged, base: Judged | None) -> float:
    """Return min(1, evaluable share / the base's), as in metrics.objectives."""
    ours, theirs = judged.objectives[name], base and base.objectives.get(name)
    if not theirs or not theirs.n:
        return 1.0
    return min(1.0, (ours.n / ours.total) / (theirs.n / theirs.total))


def _factor_draws(ours: Objective, base: Judged, rng: np.random.Generator) -> Floats | float:
    theirs = base.objectives.get(ours.name)
    if not theirs or not theirs.n:
        return 1.0
    shares = [rng.beta(side.n + 0.5, side.total - side.n + 0.5, DRAWS) for side in (ours, theirs)]
    return np.minimum(1.0, shares[0] / shares[1])
