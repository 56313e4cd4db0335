"""Whether compiling the UNet pays for a study: the rule of `compile: auto`."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.space.config import StudyConfig
from tuner.space.load import recipe_train
from tuner.space.parameters import grid_size
from tuner.space.sizes import native_size
from tuner.text import counted, duration

_SECONDS_A_FORM = 100.0
"""To compile the UNet of Stable Diffusion 1.5 takes 60 to 100 s for each form."""

_SAVED_A_SAMPLE = 0.04
"""Seconds: at 512 px a sample of 25 steps took 0.161 s, compiled 0.120 s (docs/performance.md).
Training steps are CUDA graphs instead, which save more. Cards and sizes differ, so auto compiles
only if it saves twice what it costs."""

_SMALL = 128
"""Native size in pixels up to which a base is small: nobody measured what compiling saves there."""

_MOST_FORMS = 4
"""Training and sampling are compiled separately, and torch compiles one function 8 times."""

_FORMING = (
    *("rank", "alpha", "target_modules", "lora_dropout", "use_dora", "use_rslora"),
    *("batch_size", "resolution", "buckets", "gradient_checkpointing"),
)
"""Training keys whose values change the computation or its shapes, so that it is compiled anew."""


@dataclass(frozen=True)
class CompilePlan:
    """Whether the UNet is compiled, and a line for people; it is empty where nothing is decided."""

    compiles: bool
    line: str = ""


def compile_plan(config: StudyConfig, gpu: bool, workers: int) -> CompilePlan:
    """Return whether each of `workers` compiles the UNet, by `config.compile`.

    `auto` compiles on a GPU, if the samples of one worker save at least twice what compiling costs;
    each trial is counted as drawn once.
    """
    if config.compile != "auto":
        always = config.compile == "always"
        return CompilePlan(always, "compile: the UNet is compiled, as set" if always else "")
    if not gpu:
        return CompilePlan(False)
    if native_size(config.base) <= _SMALL:
        return CompilePlan(False, "compile: no, auto is for bases of Stable Diffusion's size")
    if "lora" not in config.tried("method"):
        return CompilePlan(False, "compile: no, DreamBooth's copies are trained uncompiled")
    count = forms(config)
    if count > _MOST_FORMS:
        keys = f"the searched keys give {counted(count, 'form')}, and each is compiled anew"
        return CompilePlan(False, f"compile: no, {keys}; auto compiles at most {_MOST_FORMS}")
    samples = config.suite.samples * config.budget.trials // workers
    saved, cost = samples * _SAVED_A_SAMPLE, count * _SECONDS_A_FORM
    compiles = saved >= 2 * cost
    numbers = (
        f"{samples} samples a worker save about {duration(saved)}, "
        f"compiling {counted(count, 'form')} costs about {duration(cost)}"
    )
    return CompilePlan(compiles, f"compile: {'yes' if compiles else 'no'}, {numbers}")


def forms(config: StudyConfig) -> int:
    """Return how many different computations the trials of a study make at most."""
    if config.recipes:
        runs = [recipe_train(config, name, 0) for name in config.recipes]
        return len({tuple(getattr(run, key) for key in _FORMING) for run in runs})
    count, trials = 1, config.budget.trials
    for key in _FORMING:
        if key in config.train:
            count = min(trials, count * (grid_size(config.train[key]) or trials))
    return count
