"""A small Gaussian process as a sampler of one objective: milliseconds a trial, for replays.

Optuna's own takes seconds. Kernel: Matern 5/2, a length for each parameter, noise; all by the
likelihood, coordinate by coordinate on a short grid. The next point has the highest expected
improvement (Jones et al. 1998) on the best mean so far, among random points and changed good ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm
from search_surrogate import Floats

LENGTHS = (0.15, 0.4, 1.0, 2.5, 8.0)
NOISES = (0.03, 0.1, 0.3, 0.7)
"""Variance of the noise, of numbers with variance 1."""
FEWEST = 5
"""Trials from which a process is fitted to them."""
_ROUNDS, _RANDOM, _CHANGED, _GOOD = 2, 400, 400, 5

Space = Mapping[str, BaseDistribution]


class ProcessSampler(BaseSampler):
    """Random until `startup` trials are complete, then by expected improvement."""

    def __init__(self, seed: int, startup: int) -> None:
        self._startup, self._rng = startup, np.random.default_rng(seed)
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(IntersectionSearchSpace().calculate(study))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < self._startup or not search_space:
            return {}
        known = [{name: each.params[name] for name in search_space} for each in done]
        numbers = np.array([each.value for each in done], np.float64)
        numbers = (numbers - numbers.mean()) / max(float(numbers.std()), 1e-9)
        inputs, groups = _encoded(known, search_space)
        lengths, noise = _fitted(inputs, groups, numbers)
        best = [known[index] for index in np.argsort(-numbers)[:_GOOD]]
        points = [self._drawn(search_space) for _ in range(_RANDOM)]
        points += [self._changed(best[i % len(best)], search_space) for i in range(_CHANGED)]
        return points[
            _best_point(inputs, numbers, _encoded(points, search_space)[0], lengths, noise)
        ]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, name, distribution)

    def _drawn(self, space: Space) -> dict[str, Any]:
        return {name: self._value(each) for name, each in space.items()}

    def _value(self, each: BaseDistribution) -> Any:
        if isinstance(each, CategoricalDistribution):
            return each.choices[self._rng.integers(len(each.choices))]
        assert isinstance(each, FloatDistribution)
        return _placed(each, self._rng.random())

    def _changed(self, point: Mapping[str, Any], space: Space) -> dict[str, Any]:
        """Return a point with every number moved a little, and now and then another choice."""
        changed = dict(point)
        for name, each in space.items():
            if isinstance(each, FloatDistribution):
                place = _place(each, point[name]) + self._rng.normal(0.0, 0.08)
                changed[name] = _placed(each, min(1.0, max(0.0, place)))
            elif self._rng.random() < 0.2:
                changed[name] = self._value(each)
        return changed


def smoothed(inputs: Floats, numbers: Floats) -> Floats:
    """Return what a process makes of noisy numbers, at their inputs (trials, columns in [0, 1])."""
    if len(numbers) < FEWEST:
        return numbers
    scaled = (numbers - numbers.mean()) / max(float(numbers.std()), 1e-9)
    lengths, noise = _fitted(inputs, [[column] for column in range(inputs.shape[1])], scaled)
    own = _kernel(inputs, inputs, lengths)
    return np.asarray(own @ np.linalg.solve(own + noise * np.eye(len(scaled)), scaled), np.float64)


def _place(each: FloatDistribution, value: float) -> float:
    into = math.log if each.log else float
    return (into(value) - into(each.low)) / (into(each.high) - into(each.low))


def _placed(each: FloatDistribution, place: float) -> float:
    if each.log:
        value = each.low * (each.high / each.low) ** place
    else:
        value = each.low + (each.high - each.low) * place
    return float(min(each.high, max(each.low, value)))


def _encoded(points: list[dict[str, Any]], space: Space) -> tuple[Floats, list[list[int]]]:
    """Return the points as columns in [0, 1], and the columns of each parameter."""
    columns: list[list[float]] = []
    groups = []
    for name, each in space.items():
        begin = len(columns)
        values = [point[name] for point in points]
        if isinstance(each, FloatDistribution):
            columns.append([_place(each, value) for value in values])
        elif isinstance(each, CategoricalDistribution) and _ordered(each):
            columns.append([each.choices.index(v) / (len(each.choices) - 1) for v in values])
        elif isinstance(each, CategoricalDistribution):
            columns += [[0.7 * float(v == choice) for v in values] for choice in each.choices]
        groups.append(list(range(begin, len(columns))))
    return np.array(columns).T, groups


def _ordered(each: CategoricalDistribution) -> bool:
    return all(isinstance(choice, int | float) for choice in each.choices)


def _kernel(left: Floats, right: Floats, lengths: Floats) -> Floats:
    gaps = (left / lengths)[:, None] - (right / lengths)[None]
    distance = np.sqrt(5 * (gaps**2).sum(axis=2))
    return np.asarray((1 + distance + distance**2 / 3) * np.exp(-distance))


def _fitted(inputs: Floats, groups: list[list[int]], numbers: Floats) -> tuple[Floats, float]:
    """Return the length of each column and the noise with the highest likelihood found."""
    lengths, noise = np.full(inputs.shape[1], 1.0), 0.3
    best = _likelihood(inputs, numbers, lengths, noise)
    for _ in range(_ROUNDS):
        for group in groups:
            for length in LENGTHS:
                tried = lengths.copy()
                tried[group] = length
                found = _likelihood(inputs, numbers, tried, noise)
                if found > best:
                    best, lengths = found, tried
        for tried_noise in NOISES:
            found = _likelihood(inputs, numbers, lengths, tried_noise)
            if found > best:
                best, noise = found, tried_noise
    return lengths, noise


def _likelihood(inputs: Floats, numbers: Floats, lengths: Floats, noise: float) -> float:
    whole = _kernel(inputs, inputs, lengths) + noise * np.eye(len(numbers))
    root = np.linalg.cholesky(whole)
    solved = np.linalg.solve(root, numbers)
    # A weak wish for long lengths: a parameter without effect is not used.
    wish = -0.5 * float((np.log(lengths / 1.5) ** 2).sum()) / 4
    return -0.5 * float(solved @ solved) - float(np.log(np.diag(root)).sum()) + wish


def _best_point(
    inputs: Floats, numbers: Floats, points: Floats, lengths: Floats, noise: float
) -> int:
    """Return the row of `points` with the highest expected improvement."""
    own = _kernel(inputs, inputs, lengths)
    inverse = np.linalg.inv(own + noise * np.eye(len(numbers)))
    across = _kernel(points, inputs, lengths)
    mean = across @ inverse @ numbers
    spread = np.sqrt(np.maximum(1 - np.einsum("ij,jk,ik->i", across, inverse, across), 1e-9))
    gain = mean - (own @ inverse @ numbers).max()
    improved = gain * norm.cdf(gain / spread) + spread * norm.pdf(gain / spread)
    return int(np.argmax(improved))
