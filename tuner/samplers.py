"""Who chooses the parameters of the next trial: Optuna's samplers, by the name a space gives them.

A sampler is made anew for each trial from the study's seed and how many trials were asked for, so
that a study that was stopped and taken up again asks for what it would have asked for anyway.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
import optuna
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from scipy import stats

from tuner.config import StudyConfig
from tuner.parameters import (
    Fixed,
    FloatRange,
    IntRange,
    Prior,
    Value,
    grid_points,
    is_bound,
)
from tuner.recipes import next_run

_SEED_STRIDE = 10_007
_LARGEST_POPULATION = 50


def sampler_of(config: StudyConfig, recipes: int, asked: int, beside: bool = False) -> BaseSampler:
    """The study's sampler for the trial after `asked` ones, of which `recipes` were given.

    Tree-structured Parzen estimators (Bergstra et al. 2011; several objectives: Ozaki et al.
    2022), a Gaussian process, NSGA-II (Deb et al. 2002), random numbers, or a grid. With `beside`,
    trees keep away from trials that still run.
    """
    seed = (config.seed * _SEED_STRIDE + asked) % 2**32
    startup = startup_trials(config, recipes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match "random" if config.recipes else config.sampler:
            case "tpe":
                # Grouped, parameters that some trials lack are still modelled together.
                grouped = any(is_bound(one) for one in config.train.values())
                return TPESampler(
                    multivariate=True,
                    group=grouped,
                    seed=seed,
                    n_startup_trials=startup,
                    constant_liar=beside,
                )
            case "gp":
                return GPSampler(seed=seed, n_startup_trials=startup)
            case "nsga2":
                size = max(4, min(_LARGEST_POPULATION, config.budget.trials // 4))
                return NSGAIISampler(population_size=size, seed=seed)
            case "random" | "grid":
                # Optuna's own grid stops a study, which works inside `optimize` alone.
                return RandomSampler(seed=seed)


def startup_trials(config: StudyConfig, recipes: int) -> int:
    """How many trials are drawn at random, `recipes` among them, before a sampler learns."""
    return recipes + max(4, config.budget.trials // 4)


def chosen_values(
    config: StudyConfig,
    recipes: int,
    asked: int,
    tried: Iterable[Mapping[str, object]] = (),
) -> dict[str, Value]:
    """What the trial after `asked` ones takes whatever the sampler says: in a study of recipes the
    next one that was not `tried`, of a grid a whole point, else a value of each parameter with a
    prior.

    Priors hold until the sampler has trials to learn from, and all through random search. A
    parameter that the other values leave out is drawn all the same.
    """
    if config.recipes:
        return next_run(config.recipes, config.training_seeds, tried)
    if config.sampler == "grid":
        return _grid_point(config, asked - recipes)
    learns = config.sampler != "random"
    if learns and asked >= startup_trials(config, recipes):
        return {}
    random = np.random.default_rng([config.seed, asked])
    return {
        name: _from_prior(parameter, parameter.prior, random)
        for name, parameter in config.train.items()
        if isinstance(parameter, FloatRange | IntRange) and parameter.prior is not None
    }


def _grid_point(config: StudyConfig, index: int) -> dict[str, Value]:
    """Point `index` of the grid in an order of the study's own; the first one after the last."""
    searched = {k: v for k, v in config.train.items() if not isinstance(v, Fixed)}
    axes = [grid_points(parameter) or () for parameter in searched.values()]
    shape = [len(axis) for axis in axes]
    order = np.random.default_rng(config.seed).permutation(math.prod(shape))
    places = np.unravel_index(order[index % len(order)], shape)
    values = (axis[int(place)] for axis, place in zip(axes, places, strict=True))
    return dict(zip(searched, values, strict=True))


def _from_prior(
    of: FloatRange | IntRange, prior: Prior, random: np.random.Generator
) -> float | int:
    into, back = (math.log, math.exp) if of.log else (float, float)
    width = math.log(prior.width) if of.log else prior.width
    centre = into(prior.centre)
    ends = (into(of.low) - centre) / width, (into(of.high) - centre) / width
    value = back(stats.truncnorm.rvs(*ends, loc=centre, scale=width, random_state=random))
    if of.step is not None and not of.log:
        value = of.low + round((value - of.low) / of.step) * of.step
    value = min(max(value, of.low), of.high)
    return round(value) if isinstance(of, IntRange) else float(value)
