"""Methods of choosing parameters: the samplers of `tuner`, and variants that it does not have.

A method is what a user could write into a space: sampler, rungs, given recipes, prior.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from search_hub import Build, hub_samplers, seed_of
from search_process import ProcessSampler
from search_surrogate import Floats

from tuner.space import StudyConfig
from tuner.space.config import Sampler
from tuner.space.parameters import Choices, FloatRange, Parameter, Prior, Value
from tuner.study.memory.scalar import Scalar, ScalarSampler, strengths
from tuner.study.samplers import sampler_of, startup_trials

Arm = Literal["plain", "start_from", "good prior", "useless prior", "wrong prior"]
ARMS: tuple[Arm, ...] = get_args(Arm)
TOLD = "learning_rate"
"""The parameter that priors speak of: it decides more than any other."""
KEEP = 0.5
"""`budget.keep` of the methods with rungs, as search_spaces/pose.yaml has it."""
GRID_STEPS = 7
"""A grid needs steps: so many values of a range without them."""
_SURE, _VAGUE = 1.6, 50.0
"""Widths of a prior, as factors: a user who is sure, and one who knows nothing."""


KNOWN = (
    ("random", False),
    ("random", True),
    ("grid", False),
    ("nsga2", False),
    ("tpe", False),
    ("tpe", True),
    ("tpe_strength", False),
    ("tpe_strength", True),
    ("gp", False),
    ("gp", True),
)
"""The samplers of `tuner`, each without or with rungs."""


@dataclass(frozen=True)
class Method:
    """A sampler of `tuner` or a variant by name, with or without rungs, and what it is told."""

    sampler: str
    rungs: bool = False
    arm: Arm = "plain"

    @property
    def name(self) -> str:
        return self.sampler + (" + rungs" if self.rungs else "")

    @property
    def slow(self) -> bool:
        """True for a sampler that takes seconds a trial."""
        return self.sampler.startswith("gp")


@dataclass(frozen=True)
class Telling:
    """What methods can be told: recipes to begin with, and the best and worst learning rate."""

    starts: tuple[Mapping[str, Value], ...]
    best: float
    worst: float


def telling(config: StudyConfig, starts: tuple[Mapping[str, Value], ...], best: float) -> Telling:
    """Return what methods can be told; the worst rate is the end that is farthest from `best`."""
    rates = config.train[TOLD]
    assert isinstance(rates, FloatRange)
    worst = rates.low if best / rates.low > rates.high / best else rates.high
    return Telling(starts, best, worst)


def config_of(
    config: StudyConfig, method: Method, told: Telling, seed: int, trials: int
) -> StudyConfig:
    """Return the study that a user of the method would run."""
    budget = config.budget.model_copy(
        update={"trials": trials, "keep": KEEP if method.rungs else 1.0}
    )
    train = dict(config.train)
    rates = train[TOLD]
    assert isinstance(rates, FloatRange)
    match method.arm:
        case "good prior":
            train[TOLD] = replace(rates, prior=Prior(told.best, _SURE))
        case "wrong prior":
            train[TOLD] = replace(rates, prior=Prior(told.worst, _SURE))
        case "useless prior":
            train[TOLD] = replace(rates, prior=Prior((rates.low * rates.high) ** 0.5, _VAGUE))
    if method.sampler == "grid":
        train = {name: _stepped(parameter) for name, parameter in train.items()}
    starts = told.starts if method.arm == "start_from" else ()
    sampler = method.sampler if method.sampler in get_args(Sampler) else "tpe"
    changes = {"budget": budget, "train": train, "start_from": starts, "sampler": sampler}
    return config.model_copy(update={**changes, "seed": seed})


def _stepped(parameter: Parameter) -> Parameter:
    """Return a range as the choices of a grid, which takes no range of numbers without steps."""
    if not isinstance(parameter, FloatRange) or parameter.step is not None:
        return parameter
    space = np.geomspace if parameter.log else np.linspace
    return Choices(tuple(map(float, space(parameter.low, parameter.high, GRID_STEPS))))


def sampler_for(method: Method, config: StudyConfig, starts: int, before: int) -> BaseSampler:
    """Return the method's sampler for the trial that follows `before` others."""
    if method.sampler in VARIANTS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return VARIANTS[method.sampler](config, starts, before)
    return sampler_of(config, starts, before)


def weighed(seed: int) -> Scalar:
    """Return ParEGO's number (Knowles 2006): the worst objective under weights drawn anew."""
    weights = np.random.default_rng(seed).dirichlet(np.ones(4))

    def scalar(values: Floats) -> Floats:
        gaps = weights * (values.max(axis=0) - values) / np.maximum(np.ptp(values, axis=0), 1e-9)
        return np.asarray(-gaps.max(axis=1) - 0.05 * gaps.sum(axis=1))

    return scalar


def _tpe(**changes: Any) -> Build:
    def build(config: StudyConfig, starts: int, before: int) -> BaseSampler:
        own = {"multivariate": True, "n_startup_trials": startup_trials(config, starts)} | changes
        return TPESampler(seed=seed_of(config, before), constant_liar=False, **own)

    return build


def _on_strength(inner: Build) -> Build:
    return lambda *about: ScalarSampler(inner(*about), strengths)


def _on_weights(inner: Build) -> Build:
    return lambda config, starts, before: ScalarSampler(
        inner(config, starts, before), weighed(seed_of(config, before))
    )


def _process(config: StudyConfig, starts: int, before: int) -> BaseSampler:
    return ProcessSampler(seed_of(config, before), startup_trials(config, starts))


def _early(config: StudyConfig, starts: int, before: int) -> BaseSampler:
    """Learn after eight trials, whatever the budget."""
    return ProcessSampler(seed_of(config, before), starts + 8)


def _gp(config: StudyConfig, starts: int, before: int) -> BaseSampler:
    startup = startup_trials(config, starts)
    return GPSampler(seed=seed_of(config, before), n_startup_trials=startup)


def _quarter(count: int) -> int:
    return max(2, count // 4)


VARIANTS: Mapping[str, Build] = {
    "tpe, 4 startup": _tpe(n_startup_trials=4),
    "tpe, best quarter": _tpe(gamma=_quarter),
    "tpe on strength, best quarter": _on_strength(_tpe(gamma=_quarter)),
    "tpe on strength, 4 startup": _on_strength(_tpe(n_startup_trials=4)),
    "process on strength": _on_strength(_process),
    "process on strength, 8 startup": _on_strength(_early),
    "process on weights": _on_weights(_process),
    "gp on strength": _on_strength(_gp),
    **hub_samplers(),
}
