"""Samplers of OptunaHub as methods of search.py, loaded from a clone of its registry.

    git clone https://github.com/optuna/optunahub-registry
    pip install optunahub cmaes
    OPTUNAHUB_REGISTRY=optunahub-registry python benchmarks/search.py replay

They are replayed only where a clone is named: their code is not part of this project.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from optuna.samplers import BaseSampler

from tuner.space import StudyConfig
from tuner.study.memory.scalar import ScalarSampler, strengths
from tuner.study.samplers import startup_trials

Build = Callable[[StudyConfig, int, int], BaseSampler]
"""Makes the sampler for the trial after `before` others, as `sampler_of` does."""

AUTO, TUTORIAL = "hub: auto", "hub: tutorial's tpe on strength"
"""AutoSampler, which chooses among Optuna's own samplers, and Parzen estimators with the settings
of "Tree-Structured Parzen Estimator: Understanding Its Algorithm Components" (Watanabe 2023).
HEBO is missing because it takes no `null` among choices, TuRBO because it takes no choices."""


def hub_samplers() -> Mapping[str, Build]:
    """Return the samplers of OptunaHub that are compared, by name; none without a registry."""
    if not (folder := os.environ.get("OPTUNAHUB_REGISTRY")):
        return {}
    registry = Path(folder)
    return {AUTO: partial(_auto, registry), TUTORIAL: partial(_tutorial, registry)}


def seed_of(config: StudyConfig, before: int) -> int:
    """Return the seed of the sampler for the trial after `before` others."""
    return (config.seed * 10_007 + before) % 2**32


def _auto(registry: Path, config: StudyConfig, starts: int, before: int) -> BaseSampler:
    sampler: BaseSampler = _module(registry, "auto_sampler").AutoSampler(
        seed=seed_of(config, before)
    )
    return sampler


def _tutorial(registry: Path, config: StudyConfig, starts: int, before: int) -> BaseSampler:
    inner = _module(registry, "tpe_tutorial").CustomizableTPESampler(
        seed=seed_of(config, before), n_startup_trials=startup_trials(config, starts)
    )
    return ScalarSampler(inner, strengths)


def _module(registry: Path, name: str) -> Any:
    hub = import_module("optunahub")
    return hub.load_local_module(f"samplers/{name}", registry_root=str(registry / "package"))
