"""Estimate the cost of a study, by simple formulas over the seconds and bytes of its parts.

With seconds that were timed on this machine (`tuner.study.timed`) the estimates of five studies
were 0.9 to 1.16 times what they took (benchmarks/estimates.py); with the constants here the time is
an order of magnitude. Work is counted in pictures of the base's native size: a picture of twice the
area costs twice as much.
"""

from __future__ import annotations

import heapq
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tuner.data.regularisation import PRIOR_PICTURES
from tuner.mannequin import cost as mannequin
from tuner.models.stored.families import UnitCost
from tuner.models.stored.known import layout_of
from tuner.space import StudyConfig, TrainConfig
from tuner.space.config import OF_BASE, BudgetConfig
from tuner.space.parameters import Fixed, Value, extremes
from tuner.space.sizes import native_size, parse_size
from tuner.space.suite import TRAIN_SIZE
from tuner.study.checks.needed_memory import needed_bytes, trained_weights

_THRESHOLD_VIEWS = 180
"""Views of training pictures that set the judges' thresholds: 60 pictures from three sides each, or
up to 200 from one."""

_LOSS_STEPS = 64
"""Guided denoising steps that take as long as the loss of a run (`training.held_out_loss`): 32
pictures at 4 timesteps, where a guided step makes two predictions."""


@dataclass(frozen=True)
class StudyCost:
    """Cost of a study: seconds, bytes on disk, bytes of (video) memory.

    `seconds` is for trials that all run to their last rung; `kept_seconds` is for the case that at
    each rung only the share `budget.keep` of the trials that may be stopped goes on.
    """

    seconds: float
    kept_seconds: float
    disk_bytes: int
    vram_bytes: int


def rough_units(config: StudyConfig) -> UnitCost:
    """Return the constants for the study's base: of the mannequin's world, or of its family."""
    small = native_size(config.base) <= 128
    return mannequin.COST if small else layout_of(config.base).cost


def estimate(config: StudyConfig, units: UnitCost | None = None, workers: int = 1) -> StudyCost:
    """Return the cost of a whole study with its confirmation, including trials already run.

    `units` are those of one of `workers`; None: the constants. All load at the same time, and each
    takes the next piece of work when it is free: first the base, then trials, and when they have
    ended the parts of the confirmation.
    """
    if config.recipes:
        return _of_recipes(config, units, workers)
    native = native_size(config.base)
    cost = units or rough_units(config)
    areas = [_area(value) / native**2 for value in extremes(config.train["resolution"])]
    batches = _numbers(config, "batch_size")
    accumulated = _mean(_numbers(config, "gradient_accumulation"))
    # With regularisation each batch is joined by a batch of regularisation pictures.
    batches_per_step = 1.0 + _mean(
        [float(weight > 0) for weight in _numbers(config, "prior_weight")]
    )
    steps = [step or config.budget.rungs[-1] for step in _numbers(config, "steps")]
    low = [rung for rung in config.budget.rungs if rung < max(steps)]
    suite_seconds, suite_bytes = _suite(config, cost, native)
    few = (config.budget.low_rung_seeds or config.suite.seeds) / config.suite.seeds
    pictures = _mean(batches) * accumulated * batches_per_step
    step_seconds = pictures * _mean(areas) * cost.train
    # Seconds of a trial from one rung to the next, where trials may be stopped, and to its end.
    ends = [*(min(rung, _mean(steps)) for rung in low), _mean(steps)]
    parts = [(end - start) * step_seconds for start, end in pairwise([0.0, *ends])]
    loss_seconds = _LOSS_STEPS * cost.sample * _area(config.suite.size) / native**2
    parts = [part + few * suite_seconds + loss_seconds for part in parts]
    extra = _extra_suites(config, _mean(areas) * native**2)
    parts[-1] += (1 - few + extra) * suite_seconds
    kept = sum(map(operator.mul, parts, _reached(config.budget, len(parts))))
    trials = config.budget.trials
    confirmed = min(trials, config.budget.confirm)
    # A confirmed trial is sampled, trained again, and sampled; the base is sampled once more.
    again = confirmed * config.budget.confirm_repeats
    fresh = (1 + confirmed + again) * _fresh_suites(config) if confirmed else 0.0
    part = _fresh_suites(config) * suite_seconds if confirmed else 0.0
    repeats = [part + _mean(steps) * step_seconds] * config.budget.confirm_repeats
    once = cost.load + _spread([part, *[part, *repeats] * confirmed], workers)
    base = _threshold_seconds(config, cost) + (1 + extra) * suite_seconds
    prior = _prior_seconds(config, cost, native)
    suites = 1 + extra + fresh + trials * (len(low) * few + 1 + extra)
    trained = _trained_bytes(config, cost, len(parts), again)
    return StudyCost(
        seconds=once + _search(base, prior, [sum(parts)] * trials, workers),
        kept_seconds=once + _search(base, prior, [kept / trials] * trials, workers),
        disk_bytes=int(1.2 * (suites * suite_bytes + trained)),
        vram_bytes=needed_bytes(config, cost),
    )


def _search(base: float, prior: float, trials: list[float], workers: int) -> float:
    """Return the seconds of the base's samples, of its pictures for regularisation, and of trials.

    If there are such pictures (`prior` seconds), all workers wait for them.
    """
    return base + prior + _spread(trials, workers) if prior else _spread([base, *trials], workers)


def _trained_bytes(config: StudyConfig, cost: UnitCost, rungs: int, again: int) -> float:
    """Return the bytes of all trained files; `again` runs are trained again for a confirmation."""
    trials, ranks = config.budget.trials, _numbers(config, "rank")
    wider = max(cost.targets[str(value)] for value in _choices(config, "target_modules"))
    lora = max(ranks) * (cost.lora + cost.text_lora) * wider
    whole = 2 * trained_weights(config, cost) if "dreambooth" in _choices(config, "method") else 0
    # DreamBooth's weights are kept for the last rung of a trial only.
    return (trials * rungs + again) * lora + (trials + again) * whole


def _spread(pieces: Sequence[float], workers: int) -> float:
    """Return the seconds until all pieces of work are done; who is free takes the next one."""
    ends = [0.0] * workers
    for seconds in pieces:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def _of_recipes(config: StudyConfig, units: UnitCost | None, workers: int) -> StudyCost:
    """Return the sum over recipes, each taken as a separate study, without shared trainings."""
    parts = []
    for recipe in config.recipes.values():
        seeds = sum(seed < (recipe.training_seeds or seed + 1) for seed in config.training_seeds)
        train = {**config.train, **{name: Fixed(of) for name, of in recipe.train.items()}}
        size = config.suite.size if recipe.suite.size is None else recipe.suite.size
        own = {
            "recipes": {},
            "train": train,
            "suite": config.suite.model_copy(update={"size": size}),
            "budget": config.budget.model_copy(update={"trials": seeds}),
        }
        parts.append(estimate(config.model_copy(update=own), units))
    return replace(
        parts[0],
        seconds=sum(part.seconds for part in parts) / workers,
        kept_seconds=sum(part.kept_seconds for part in parts) / workers,
        disk_bytes=sum(part.disk_bytes for part in parts),
        vram_bytes=max(part.vram_bytes for part in parts),
    )


def _threshold_seconds(config: StudyConfig, cost: UnitCost) -> float:
    """Return the seconds in which the judges of photographs look at the training pictures."""
    photographic = config.judges.domain_for(config.base) == "photographic"
    return _THRESHOLD_VIEWS * cost.score / max(1, cost.judges) if photographic else 0.0


def _reached(budget: BudgetConfig, rungs: int) -> list[float]:
    """Return the expected number of trials at each rung if every allowed stop happens."""
    reached = [float(budget.trials)]
    for _ in range(rungs - 1):
        free = min(reached[-1], budget.keep_from - 1.0)  # too few trials to compare them with
        reached.append(free + budget.keep * (reached[-1] - free))
    return reached


def _suite(config: StudyConfig, cost: UnitCost, native: int) -> tuple[float, float]:
    """Return seconds and bytes of sampling and scoring the suite once, its grid included."""
    cells = config.suite.samples
    pixels = _area(config.suite.size)
    drawn = _drawn(config, cost, native)
    # Processes beside the worker judge a batch while it draws the next one.
    seconds = max(drawn, cost.score / cost.judges) if cost.judges else drawn + cost.score
    return cells * seconds, 2 * cells * pixels * cost.png


def _drawn(config: StudyConfig, cost: UnitCost, native: int) -> float:
    """Return the seconds of drawing one of the suite's samples."""
    area = _area(config.suite.size) / native**2
    return (config.suite.steps * cost.sample + cost.decode) * area


def _prior_seconds(config: StudyConfig, cost: UnitCost, native: int) -> float:
    """Return the seconds of drawing and judging the base's pictures for regularisation, if any."""
    if config.regularisation != OF_BASE:
        return 0.0
    return PRIOR_PICTURES * (_drawn(config, cost, native) + cost.score / max(1, cost.judges))


def _extra_suites(config: StudyConfig, trained_at: float) -> float:
    """Return the extra samples of one LoRA, in runs of the suite; `trained_at` is in pixels."""
    suite = config.suite
    also = [trained_at if size == TRAIN_SIZE else _area(size) for size in suite.also_at]
    others = len(config.also_sample_on) + suite.also_with_alias
    return sum(also) / _area(suite.size) + others


def _choices(config: StudyConfig, name: str) -> tuple[Value, ...]:
    if name in config.train:
        return extremes(config.train[name])
    return (TrainConfig.model_fields[name].default,)


def _fresh_suites(config: StudyConfig) -> float:
    """Return the fresh samples of one LoRA, in runs of the suite."""
    return max(1.0, config.budget.confirm_samples / config.suite.samples)


def _numbers(config: StudyConfig, name: str) -> list[float]:
    values = _choices(config, name)
    return [float(value) if isinstance(value, int | float) else 0.0 for value in values]


def _area(size: object) -> float:
    width, height = parse_size(size if isinstance(size, str) else int(str(size)))
    return float(width * height)


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)
