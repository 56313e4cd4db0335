"""Measure whether a LoRA with an alias also changes people in pictures without the alias.

Suites are sampled without the alias. Some of their cells are also drawn with it, from the same
noise, with the LoRA and once with the base, so that the alias's own effect on the base does not
count as a change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np

from metrics.contract import Image, Measure, Sample, ScoredSample
from metrics.intervals import mean_interval
from tuner.models import BaseModel
from tuner.models.method import Trained
from tuner.models.sampling import draw_cells
from tuner.space import SuiteConfig
from tuner.space.config import MANNEQUIN
from tuner.trial.keep import is_flagged

MAX_CELLS = 12
"""Largest number of cells drawn with the alias, which is never more than a third of the suite."""

_kept: WeakKeyDictionary[BaseModel, dict[tuple[SuiteConfig, str], list[Image]]] = (
    WeakKeyDictionary()
)


def cells(suite: SuiteConfig) -> list[int]:
    """Return the cells that are also drawn with the alias, evenly over prompts and seeds."""
    total = suite.samples
    count = min(MAX_CELLS, total // 3)
    return [index * total // count for index in range(count)]


def with_alias(suite: SuiteConfig, alias: str) -> SuiteConfig:
    """Return the same suite with the alias before every prompt, as in training."""
    prompts = tuple(replace(prompt, text=f"{alias}, {prompt.text}") for prompt in suite.prompts)
    return suite.model_copy(update={"prompts": prompts})


def without_alias(suite: SuiteConfig, alias: str) -> SuiteConfig:
    """Return the same suite without the alias in its prompts."""
    inside = re.compile(rf"(?<!\w){re.escape(alias)}(?!\w)(?:, | )?")
    prompts = tuple(
        replace(prompt, text=inside.sub("", prompt.text).strip(" ,")) for prompt in suite.prompts
    )
    return suite.model_copy(update={"prompts": prompts})


def has_alias(suite: SuiteConfig, alias: str) -> bool:
    """Return True if every prompt of the suite begins with the alias."""
    return all(prompt.text.startswith(f"{alias}, ") for prompt in suite.prompts)


def leak_measures(
    base: BaseModel,
    suite: SuiteConfig,
    alias: str,
    lora: Trained | None,
    samples: tuple[Sequence[Sample], Sequence[ScoredSample]],
) -> list[Measure]:
    """Return the distances of the LoRA's pictures from the base's, of the same prompt and noise.

    `alias_leak` is the distance without the alias: 0 if the LoRA changes nothing without it, and
    for the base itself (`lora` None). `alias_effect` is the distance with the alias, on the same
    cells. Distances are root mean squares over pixels; 1 is from black to white. `samples` are the
    LoRA's as drawn and the base's as stored, in the suite's order; cells whose picture of the base
    was pixelated are left out. Returns an empty list for a suite of fewer than three cells.
    """
    drawn, base_drawn = samples
    chosen = [index for index in cells(suite) if not _pixelated(base, base_drawn[index])]
    if not chosen:
        return []
    aliased = with_alias(suite, alias)
    of_base = _kept.setdefault(base, {})
    if (suite, alias) not in of_base:
        of_base[suite, alias] = _drawn(base, aliased, None, cells(suite))
    before = dict(zip(cells(suite), of_base[suite, alias], strict=True))
    after = _drawn(base, aliased, lora, chosen)
    leak = [
        picture_distance(drawn[index].image, base_drawn[index].sample.image) for index in chosen
    ]
    effect = [
        picture_distance(image, before[index]) for index, image in zip(chosen, after, strict=True)
    ]
    return [_mean("alias_leak", leak), _mean("alias_effect", effect)]


def drift_measures(
    base: BaseModel,
    suite: SuiteConfig,
    alias: str,
    lora: Trained,
    samples: tuple[Sequence[Sample], Sequence[ScoredSample]],
) -> list[Measure]:
    """Return the measures of `leak_measures` for a `suite` that has the alias before every prompt.

    Here the cells without the alias are drawn beside the suite, and `samples` have it.
    """
    drawn, base_drawn = samples
    chosen = [index for index in cells(suite) if not _pixelated(base, base_drawn[index])]
    if not chosen:
        return []
    plain = without_alias(suite, alias)
    of_base = _kept.setdefault(base, {})
    if (plain, alias) not in of_base:
        of_base[plain, alias] = _drawn(base, plain, None, cells(suite))
    before = dict(zip(cells(suite), of_base[plain, alias], strict=True))
    after = _drawn(base, plain, lora, chosen)
    leak = [
        picture_distance(image, before[index]) for index, image in zip(chosen, after, strict=True)
    ]
    effect = [
        picture_distance(drawn[index].image, base_drawn[index].sample.image) for index in chosen
    ]
    return [_mean("alias_leak", leak), _mean("alias_effect", effect)]


def picture_distance(image: Image, other: Image) -> float:
    """Return the root mean square difference of two pictures of the same size, 0 (equal) to 1."""
    gap = image.astype(np.float64) - other.astype(np.float64)
    return float(np.sqrt((gap**2).mean())) / 255


def _drawn(
    base: BaseModel, suite: SuiteConfig, lora: Trained | None, chosen: Sequence[int]
) -> list[Image]:
    with closing(draw_cells(base, suite, lora, chosen)) as batches:
        return [image for batch in batches for image in batch]


def _pixelated(base: BaseModel, sample: ScoredSample) -> bool:
    return base.name != MANNEQUIN and is_flagged(sample.scores)


def _mean(name: str, distances: Sequence[float]) -> Measure:
    values = np.array(distances, np.float64)
    low, high = mean_interval(values)
    return Measure(
        name, float(values.mean()), max(0.0, low), min(1.0, high), len(values), len(values)
    )
