"""Choose the parameters of the next trial: with Optuna's samplers, by their name in the space.

A sampler is built for each trial from the study's seed and the number of trials before it, so that
a study that was stopped and continued gets the same parameters as one that ran through.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from random import Random

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from scipy import stats

from tuner.space import StudyConfig, TrainConfig
from tuner.space.load import recipe_train
from tuner.space.parameters import (
    Choices,
    Fixed,
    FloatRange,
    IntRange,
    Prior,
    Value,
    applies,
    grid_point,
    grid_size,
    is_bound,
)
from tuner.space.recipes import RECIPE, TRAINING_SEED, next_run
from tuner.study.memory.scalar import ScalarSampler, strengths

_SEED_STRIDE = 10_007
_LARGEST_POPULATION = 50
_WIDEST = 1000.0
"""Largest width of a prior, in lengths of its range, for which its draws are not rounded off."""
_LARGEST_ORDER = 1_000_000
"""Points of a grid whose whole order is made: 8 MB. It is more than the trials of any study."""

_LAST_SEED = 999_999

PRIOR_TRIALS = 4
"""Trials that are drawn from a prior before a sampler takes over: a good prior is then in what it
learns from, and a wrong one costs no more than these (benchmarks/search.py)."""

_TRIAL_SEED_STRIDE = 1000
"""Distance between the seeds of two trials, so that one trial may use several."""


def sampler_of(
    config: StudyConfig,
    starts: int,
    before: int,
    beside: bool = False,
    last: BaseSampler | None = None,
) -> BaseSampler:
    """Return the study's sampler for the trial that follows `before` others.

    The first `starts` trials come from `start_from`. The samplers are Tree-structured Parzen
    estimators on the strength (Bergstra et al. 2011) or on all objectives (Ozaki et al. 2022), a
    Gaussian process, NSGA-II (Deb et al. 2002), random numbers, or a grid. With `beside`, the
    Parzen estimators keep away from the parameters of trials that are still running. `last` is the
    sampler of the trial before, whose copies of the study's trials are used again.
    """
    seed = (config.seed * _SEED_STRIDE + before) % 2**32
    startup = startup_trials(config, starts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match "random" if config.recipes else config.sampler:
            case "tpe" | "tpe_strength" as name:
                # With `group`, parameters that some trials lack are still modelled together.
                grouped = any(is_bound(parameter) for parameter in config.train.values())
                parzen = TPESampler(
                    multivariate=True,
                    group=grouped,
                    seed=seed,
                    n_startup_trials=startup,
                    constant_liar=beside,
                )
                if name == "tpe":
                    return parzen
                copies = last.copies if isinstance(last, ScalarSampler) else None
                return ScalarSampler(parzen, strengths, copies)
            case "gp":
                return GPSampler(seed=seed, n_startup_trials=startup)
            case "nsga2":
                size = max(4, min(_LARGEST_POPULATION, config.budget.trials // 4))
                return NSGAIISampler(population_size=size, seed=seed)
            case "random" | "grid":
                # Optuna's own grid sampler stops the study, which works only inside `optimize`.
                return RandomSampler(seed=seed)


def startup_trials(config: StudyConfig, starts: int) -> int:
    """Count the trials before a sampler learns: `starts` given ones, then random ones."""
    return starts + max(4, config.budget.trials // 4)


def chosen_values(
    config: StudyConfig, starts: int, before: int, tried: Iterable[Mapping[str, object]] = ()
) -> dict[str, Value]:
    """Return the values that the next trial takes regardless of the sampler.

    In a study of recipes that is the next run that is not in `tried`, in a grid a whole point,
    otherwise a value for each parameter that has a prior. `starts` and `before` are as in
    `sampler_of`. Priors hold for the first PRIOR_TRIALS, and throughout a random search. A
    parameter whose `when` condition is not met is drawn too.
    """
    if config.recipes:
        return next_run(config.recipes, config.training_seeds, tried)
    if config.sampler == "grid":
        return _grid_point(config, before - starts)
    learns = config.sampler != "random"
    if learns and before >= starts + PRIOR_TRIALS:
        return {}
    random = np.random.default_rng([config.seed, before])
    return {
        name: _from_prior(parameter, parameter.prior, random)
        for name, parameter in config.train.items()
        if isinstance(parameter, FloatRange | IntRange) and parameter.prior is not None
    }


def _grid_point(config: StudyConfig, index: int) -> dict[str, Value]:
    """Return point `index` of the grid in a random order fixed by the study's seed; it wraps."""
    searched = {k: v for k, v in config.train.items() if not isinstance(v, Fixed)}
    sizes = {name: grid_size(parameter) or 1 for name, parameter in searched.items()}
    place = _place_in_order(config.seed, index, math.prod(sizes.values()))
    values: dict[str, Value] = {}
    for name, parameter in reversed(searched.items()):  # the last parameter changes fastest
        place, own = divmod(place, sizes[name])
        values[name] = grid_point(parameter, own)
    return {name: values[name] for name in searched}


def _place_in_order(seed: int, index: int, points: int) -> int:
    """Return entry `index` of a random order of the numbers from 0 to `points` - 1; it wraps.

    The order of a large grid is drawn as far as it is needed, instead of being made as a whole.
    """
    if points <= _LARGEST_ORDER:
        return int(np.random.default_rng(seed).permutation(points)[index % points])
    drawn: dict[int, None] = {}
    numbers = Random(seed)
    while len(drawn) <= max(index, 0):
        drawn[numbers.randrange(points)] = None
    return next(reversed(drawn))


def _from_prior(
    range_: FloatRange | IntRange, prior: Prior, random: np.random.Generator
) -> float | int:
    low, high, step = range_.low, range_.high, range_.step
    into, back = (math.log, math.exp) if range_.log else (float, float)
    width = math.log(prior.width) if range_.log else prior.width
    width = min(width, _WIDEST * (into(high) - into(low)))
    centre = into(prior.centre)
    ends = (into(low) - centre) / width, (into(high) - centre) / width
    value = back(stats.truncnorm.rvs(*ends, loc=centre, scale=width, random_state=random))
    if step is not None and not range_.log:
        value = low + round((value - low) / step) * step
    value = min(max(value, low), high)
    return round(value) if isinstance(range_, IntRange) else float(value)


def suggest(trial: optuna.Trial, config: StudyConfig) -> TrainConfig:
    """Return the configuration of one training run, with a value drawn for each range.

    Optuna's parameters have the names of the keys. Unless the space sets `seed`, it is the study's
    seed + 1000 x the trial's number; a retry has the seed of the first try.
    """
    if config.recipes:
        name = trial.suggest_categorical(RECIPE, list(config.recipes))
        return recipe_train(config, name, trial.suggest_int(TRAINING_SEED, 0, _LAST_SEED))
    first = int(trial.user_attrs.get("first_try", trial.number))
    values: dict[str, Value] = {"seed": config.seed + _TRIAL_SEED_STRIDE * first}
    # Parameters that conditions refer to have no condition themselves, so they are drawn first.
    for name, parameter in sorted(config.train.items(), key=lambda item: is_bound(item[1])):
        if not applies(parameter, values):
            continue
        match parameter:
            case Fixed(value):
                values[name] = value
            case Choices(choices):
                values[name] = trial.suggest_categorical(name, choices)
            case FloatRange(low, high, log, step):
                values[name] = trial.suggest_float(name, low, high, log=log, step=step)
            case IntRange(low, high, log, step):
                values[name] = trial.suggest_int(name, low, high, log=log, step=step)
    return TrainConfig.model_validate(values)


def start_parameters(config: StudyConfig) -> list[dict[str, Value]]:
    """Return the starting points for `optuna.Study.enqueue_trial`: searched parameters only."""
    searched = {key for key, value in config.train.items() if not isinstance(value, Fixed)}
    starts = [{k: v for k, v in start.items() if k in searched} for start in config.start_from]
    return [start for start in starts if start]
