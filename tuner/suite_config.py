"""The suite of a study: which prompts and seeds every trial is sampled with, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints, field_validator
from pydantic import model_validator as check

from metrics.contract import Prompt
from tuner.parameters import show
from tuner.sizes import SIZE_RULE, as_text, parse_size
from tuner.suites import SUITES
from tuner.train_config import NAME, NAME_RULE, StrictModel

TRAIN_SIZE = "train"
"""The word of `suite.also_at` for the size that a trial trains at."""

Denoiser = Literal["ddim", "dpm++", "dpm++_karras", "euler", "euler_a", "heun", "unipc"]
"""How a sample is denoised; tuner.sample has them."""


class SuiteConfig(StrictModel):
    """The prompts and seeds that every trial is sampled with, and how.

    Without `prompts` the shipped suite called `name` is meant. `also_at` are further sizes,
    `train` for the trial's own, at which a trial's last rung is sampled as well, and
    `also_with_alias` samples it with the trial's alias before each prompt: both are told and
    never optimised.
    """

    name: Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")] = Field(
        default="persons", description=NAME_RULE
    )
    prompts: tuple[Prompt, ...] = Field(
        default=(), min_length=1, description="a list of {text, sex, framing, names_clothes}"
    )
    negative: str = Field(default="", description="text; the negative prompt of all samples")
    seeds: int = Field(default=4, ge=1, le=1000, description="a whole number from 1 to 1000")
    size: int | str = Field(default=64, description=SIZE_RULE)
    steps: int = Field(default=20, ge=1, le=1000, description="a whole number from 1 to 1000")
    guidance_scale: float = Field(default=3.0, ge=1, le=50, description="a number in [1, 50]")
    sampler: Denoiser = Field(default="dpm++", description=", ".join(get_args(Denoiser)))
    also_at: tuple[int | str, ...] = Field(
        default=(), strict=False, description=f"a list of sizes, each {TRAIN_SIZE}, or {SIZE_RULE}"
    )
    also_with_alias: bool = Field(default=False, description="true, false")

    @check(mode="before")
    @classmethod
    def _shipped_prompts(cls, data: object) -> object:
        if not isinstance(data, Mapping) or "prompts" in data:
            return data
        name = data.get("name", "persons")
        if name not in SUITES:
            known = ", ".join(SUITES)
            raise ValueError(f"no shipped suite {show(name)} (known: {known}); give it prompts")
        return {**data, "prompts": SUITES[name]}

    @field_validator("size")
    @classmethod
    def _is_size(cls, value: int | str) -> int | str:
        parse_size(value)
        return value

    @field_validator("also_at")
    @classmethod
    def _are_sizes(cls, value: tuple[int | str, ...]) -> tuple[int | str, ...]:
        named = [one if one == TRAIN_SIZE else as_text(parse_size(one)) for one in value]
        if len(set(named)) < len(named):
            raise ValueError("a size stands there twice")
        return value

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height in pixels of the samples."""
        return parse_size(self.size)

    def cells(self) -> tuple[tuple[Prompt, int], ...]:
        """Every prompt with every seed, prompts before seeds: (p0, 0), (p0, 1), ..., (p1, 0)."""
        return tuple((prompt, seed) for prompt in self.prompts for seed in range(self.seeds))

    def places(self, seeds: int | None = None) -> list[int]:
        """The cells of each prompt's first `seeds` seeds (None: all) by their place in `cells`."""
        kept = self.seeds if seeds is None else seeds
        return [place for place in range(len(self.cells())) if place % self.seeds < kept]
