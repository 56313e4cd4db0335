"""A study of recipes: named settings, each trained with several seeds, and claims about them.

Plain data. A search looks for the best settings; a study of recipes tests whether settings differ.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field, field_validator

from tuner.space.parameters import Value as Setting
from tuner.space.problems import WORDS
from tuner.space.sizes import SIZE_RULE, parse_size
from tuner.space.train_config import StrictModel

RECIPE, TRAINING_SEED = "recipe", "training_seed"
"""The parameters of a trial in a study of recipes."""

BASE = "base"
"""Name of the base without LoRA in a hypothesis."""

Value = float | None
"""A measure of a run; None if nothing could be judged."""

MEASURES: Mapping[str, str] = {
    "pose_bare": "pose on bare prompts",
    "pose_detailed": "pose on detailed prompts",
    "undressed": "undressed on bare prompts",
    "boys_right": "male on prompts for a boy",
    "girls_right": "female on prompts for a girl",
    "quality": "sharp and clean",
    "blur": "blur effect, 0 sharp to 1 blurred",
    "artefacts": "colour blocks, burnt colours, noise; 0 is clean",
    "prompt_fit": "named traits that are shown",
    "clothes_told": "probability of the named colours of clothes",
    "ground": "deviation of the picture's rim",
    "copies": "share of samples that are copies of training images",
    "diversity": "difference of figures between the seeds of a prompt, over the base's",
    "layout": "position of figures, compared with the held-out pictures",
    "effect": "difference from the base's sample of the same noise",
    "held_out_loss": "denoising loss on held-out pictures over the base's",
    "loss_gap": "that loss minus the loss on the training pictures",
}
"""Measures by which runs are compared, with their meaning; `run_measures` computes them.

A prompt is bare if it does not mention clothes, detailed if it names them.
"""

Expected = Literal["higher", "lower", "alike", "not_higher", "not_lower"]


class RecipeSuite(StrictModel):
    """Sampling of a recipe where it differs from the study's suite.

    `alias`: a recipe with an alias is sampled with the alias before every prompt.
    """

    size: int | str | None = Field(default=None, description=f"null (the suite's) or {SIZE_RULE}")
    alias: bool = Field(default=True, description="true, false")

    @field_validator("size")
    @classmethod
    def _is_size(cls, value: int | str | None) -> int | str | None:
        if value is not None:
            parse_size(value)
        return value


class Recipe(StrictModel):
    """One way to train and sample: the differences from the study's `train:`.

    `training_seeds`: train only with seeds below this; None: with all seeds of the study.
    """

    train: dict[str, Setting] = Field(default={}, description="training keys and their values")
    suite: RecipeSuite = Field(default_factory=RecipeSuite, description="{size, alias}")
    training_seeds: int | None = Field(
        default=None, ge=1, description="null or a whole number from 1"
    )


class Hypothesis(StrictModel):
    """A claim as a number: `measure` of the recipe `arm` minus that of `against`.

    A recipe's name may add one of its rungs (`exp024@200`); without it the last rung counts.
    `expected` is the direction that is claimed; a difference of less than `least` does not matter.
    Hypotheses with the same number are parts of one claim; one that does not decide is reported but
    has no part in the verdict.
    """

    number: int = Field(ge=1, description="a whole number from 1")
    claim: str = Field(min_length=1, description="a sentence")
    arm: str = Field(description="the name of a recipe, or NAME@STEP")
    against: str = Field(description="the name of a recipe, NAME@STEP, or base")
    measure: str = Field(
        description=f"one of {', '.join(MEASURES)}", json_schema_extra={WORDS: [*MEASURES]}
    )
    expected: Expected = Field(description="higher, lower, alike, not_higher, not_lower")
    least: float = Field(default=0.05, gt=0, le=1, description="a number in (0, 1]")
    decides: bool = Field(default=True, description="true, false")

    @field_validator("measure")
    @classmethod
    def _is_measured(cls, value: str) -> str:
        if value not in MEASURES:
            raise ValueError("unknown")
        return value


def named(text: str) -> tuple[str, int | None]:
    """Return the recipe and the rung that `arm` or `against` names; None is the last rung.

    Raises ValueError for a rung that is no whole number.
    """
    name, at, step = text.partition("@")
    if at and not step.isdecimal():
        raise ValueError(f"{text}: no rung")
    return name, int(step) if at else None


def runs(recipes: Mapping[str, Recipe], seeds: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Yield every recipe with every seed, seed by seed: a stopped study then has all recipes."""
    return (
        (name, seed)
        for seed in seeds
        for name, recipe in recipes.items()
        if recipe.training_seeds is None or seed < recipe.training_seeds
    )


def next_run(
    recipes: Mapping[str, Recipe], seeds: Sequence[int], tried: Iterable[Mapping[str, object]]
) -> dict[str, Setting]:
    """Return the parameters of the first run that was not `tried` yet; empty after the last."""
    known = {(run.get(RECIPE), run.get(TRAINING_SEED)) for run in tried}
    left = (run for run in runs(recipes, seeds) if run not in known)
    return next(({RECIPE: name, TRAINING_SEED: seed} for name, seed in left), {})


def count_runs(recipes: Mapping[str, Recipe], seeds: Sequence[int]) -> int:
    """Count the runs that `runs` yields, in ascending order of `seeds`, without listing them."""
    counts = (
        len(seeds) if recipe.training_seeds is None else bisect_left(seeds, recipe.training_seeds)
        for recipe in recipes.values()
    )
    return sum(counts)
