"""Surrogate of the trials of a table: what any parameters would give and cost at each rung.

A regression for each measure at each rung gives the mean, without noise. The noise is drawn from
the table: a whole row of residuals of rows that the regression did not see, so that the errors of
objectives and rungs stay together. Those residuals hold the regression's own error too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from search_table import LIMITED, Row, Rung
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.model_selection import KFold, cross_val_predict

from metrics.contract import Objective
from metrics.intervals import wilson
from tuner.space import StudyConfig
from tuner.space.parameters import Choices, Fixed, FloatRange, IntRange, Value

Floats = npt.NDArray[np.float64]
FOLDS = 10
TREES = 200
NEAR = 0.25
"""Share of the table that the noise of a trial is drawn from: failed trials vary in other ways than
good ones."""
COSTLY = ("resolution", "text_encoder_ratio")
"""The parameters on which the seconds of a trial depend most."""


@dataclass(frozen=True)
class Fit:
    """The regression of one measure at one rung.

    `r2` is its share of explained variance on rows it was not fitted to, by kind, `noise` the
    standard deviation of the residuals there, `binomial` that of a share of so many samples.
    """

    measure: str
    step: int
    kind: str
    r2: Mapping[str, float]
    noise: float
    binomial: float


@dataclass
class Surrogate:
    """Regressions fitted to a table of `config`'s space."""

    config: StudyConfig
    rows: Sequence[Row]
    fits: list[Fit] = field(default_factory=list)
    _processes: list[Callable[[Floats], Floats]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fit both kinds of regression, and take the better one for each measure."""
        self.trials = [row for row in self.rows if row.trial is not None]
        self.steps = [rung.step for rung in self.trials[0].rungs]
        self.names = [*self.config.objectives, *LIMITED]
        inputs = np.array([encoded(self.config, row.parameters) for row in self.trials])
        targets = np.array([self._targets(row) for row in self.trials])
        forest, unseen = _forest(inputs, targets)
        self._trees = [each.tree_ for each in forest.estimators_]
        folds = KFold(FOLDS, shuffle=True, random_state=0)
        keys = [(step, name) for step in self.steps for name in self.names]
        residuals = []
        for place, (step, name) in enumerate(keys):
            process = _process(inputs.shape[1]).fit(inputs, targets[:, place])
            known = clone(process).set_params(kernel=process.kernel_, optimizer=None)
            guess = cross_val_predict(known, inputs, targets[:, place], cv=folds)
            guesses = {"forest": unseen[:, place], "process": guess}
            r2 = {kind: _r2(targets[:, place], each) for kind, each in guesses.items()}
            kind = max(r2, key=lambda each: r2[each])
            residual = targets[:, place] - np.clip(guesses[kind], 0, 1)
            residuals.append(residual - residual.mean())
            self._processes.append(_mean_of(process))
            noise, expected = float(residual.std()), self._binomial(step, name)
            self.fits.append(Fit(name, step, kind, r2, noise, expected))
        shape = (len(self.trials), len(self.steps), len(self.names))
        self.residuals = np.stack(residuals, axis=1).reshape(shape)
        self._known = self.means([row.parameters for row in self.trials])
        self.seconds = self._seconds()
        self._samples = {key: self._judged(*key) for key in keys}

    def means(self, parameters: Sequence[Mapping[str, Value]]) -> Floats:
        """Return the measures without noise, shape (parameters, rungs, measures)."""
        inputs = np.array([encoded(self.config, each) for each in parameters])
        columns = np.stack([process(inputs) for process in self._processes], axis=1)
        chosen = [place for place, fit in enumerate(self.fits) if fit.kind == "forest"]
        if chosen:
            single = np.asarray(inputs, np.float32)
            trees = np.mean([tree.predict(single) for tree in self._trees], axis=0)
            columns[:, chosen] = trees.reshape(len(inputs), -1)[:, chosen]
        return np.clip(columns, 0.0, 1.0).reshape(len(inputs), len(self.steps), len(self.names))

    def noise(self, mean: Floats, rng: np.random.Generator) -> Floats:
        """Draw the errors of one trial, shape (rungs, measures), whose measures are `mean`.

        A row among the NEAR of the table whose means at the last rung are nearest.
        """
        gaps = ((self._known[:, -1] - mean[-1]) ** 2).sum(axis=1)
        near = np.argsort(gaps, kind="stable")[: max(8, round(NEAR * len(gaps)))]
        return self.residuals[near[rng.integers(len(near))]]

    def rungs(self, parameters: Mapping[str, Value], values: Floats) -> list[Rung]:
        """Return the rungs of a trial whose measures are `values` (rungs, measures)."""
        seconds = self.seconds.get(cost_key(parameters), self.seconds[()])
        rungs = []
        for step, row, spent in zip(self.steps, np.clip(values, 0.0, 1.0), seconds, strict=True):
            named = zip(self.names, row, strict=True)
            measured = {name: self._objective(step, name, value) for name, value in named}
            rungs.append(Rung(step, measured, *map(float, spent)))
        return rungs

    def _objective(self, step: int, name: str, value: float) -> Objective:
        samples = self._samples[step, name]
        low, high = wilson(value * samples, samples)
        return Objective(name, float(value), float(low), float(high), samples, samples)

    def _targets(self, row: Row) -> list[float]:
        return [rung.measured[name].value for rung in row.rungs for name in self.names]

    def _column(self, step: int, name: str) -> list[Objective]:
        place = self.steps.index(step)
        return [row.rungs[place].measured[name] for row in self.trials]

    def _binomial(self, step: int, name: str) -> float:
        spread = [each.value * (1 - each.value) / each.total for each in self._column(step, name)]
        return math.sqrt(float(np.mean(spread)))

    def _judged(self, step: int, name: str) -> int:
        """Return the number of samples whose Wilson interval has lower bounds like the table's."""
        known = self._column(step, name)
        gaps = [
            sum((wilson(each.value * count, count)[0] - each.low) ** 2 for each in known)
            for count in range(2, 1 + 4 * max(each.total for each in known))
        ]
        return 2 + int(np.argmin(gaps))

    def _seconds(self) -> dict[tuple[Value, ...], Floats]:
        """Return the median seconds of each kind of trial, shape (rungs, 2); of all as `()`.

        The columns are training and judging. Medians, because the table's machine had other work.
        """
        spent: dict[tuple[Value, ...], list[list[tuple[float, float]]]] = {}
        for row in self.trials:
            seconds = [(rung.training, rung.judging) for rung in row.rungs]
            for key in (cost_key(row.parameters), ()):
                spent.setdefault(key, []).append(seconds)
        return {key: np.median(np.array(each), axis=0) for key, each in spent.items()}


def cost_key(parameters: Mapping[str, Value]) -> tuple[Value, ...]:
    """Return the values of the parameters that decide what a trial costs."""
    return tuple(parameters[name] for name in COSTLY)


def encoded(config: StudyConfig, parameters: Mapping[str, Value]) -> list[float]:
    """Return parameters as numbers in [0, 1]: ranges by place, numbers by order, words one-hot."""
    numbers: list[float] = []
    for name, parameter in config.train.items():
        match parameter:
            case Fixed():
                continue
            case FloatRange(low, high, log) | IntRange(low, high, log):
                into = math.log if log else float
                value = float(str(parameters[name]))
                numbers.append((into(value) - into(low)) / (into(high) - into(low)))
            case Choices(choices) if all(isinstance(each, int | float) for each in choices):
                numbers.append(choices.index(parameters[name]) / (len(choices) - 1))
            case Choices(choices):
                numbers += [float(parameters[name] == choice) for choice in choices]
    return numbers


def _forest(inputs: Floats, targets: Floats) -> tuple[ExtraTreesRegressor, Floats]:
    """Return a forest for all targets at once, and its guesses for rows that it did not see."""
    forest = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0)
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    unseen = cross_val_predict(forest, inputs, targets, cv=folds)
    return forest.fit(inputs, targets), np.asarray(unseen, np.float64)


def _process(columns: int) -> GaussianProcessRegressor:
    """Return a Gaussian process with a length for each input."""
    smooth = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(np.ones(columns), (0.05, 50.0))
    kernel = smooth + WhiteKernel(0.3, (1e-3, 10.0))
    return GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)


def _mean_of(process: GaussianProcessRegressor) -> Callable[[Floats], Floats]:
    """Return the mean of a fitted process as a function: much faster than sklearn's `predict`."""
    smooth = process.kernel_.k1
    lengths = np.asarray(smooth.k2.length_scale)
    places, weights = process.X_train_ / lengths, smooth.k1.constant_value * process.alpha_

    def mean(inputs: Floats) -> Floats:
        gaps = ((inputs / lengths)[:, None] - places[None]) ** 2
        scaled = np.exp(-0.5 * gaps.sum(axis=2)) @ weights
        return np.asarray(process._y_train_mean + process._y_train_std * scaled, np.float64)

    return mean


def _r2(values: Floats, guesses: Floats) -> float:
    spread = float(((values - values.mean()) ** 2).sum())
    return 1.0 - float(((values - guesses) ** 2).sum()) / spread if spread else 0.0
