"""The suite of a study: the prompts and noise seeds with which every trial is sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal, get_args

from pydantic import (
    Field,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator as check,
)

from metrics.contract import Prompt, Sex
from tuner.data import forbidden_words
from tuner.space.sizes import SIZE_RULE, as_text, parse_size
from tuner.space.train_config import NAME, NAME_RULE, StrictModel
from tuner.text import show

TRAIN_SIZE = "train"
"""The word in `suite.also_at` for the training size of a trial."""

Denoiser = Literal["ddim", "dpm++", "dpm++_karras", "euler", "euler_a", "heun", "unipc"]
"""Names of the denoising samplers in `tuner.models.sampling`."""


DRAWING = "3"
"""Version of the drawing, stored with a study: raise it when the same weights, suite and seeds give
other pixels (noise, samplers, guidance, decoding), so that no study mixes both. Version 2: samplers
take only noise levels and prediction type from the base. Version 3: processors with bfloat16
instructions multiply in bfloat16. The order of additions does not count: it differs between
machines too."""


def _bare(sex: Sex) -> tuple[Prompt, ...]:
    """Return five prompts that do not mention clothes, which show what a model draws by default."""
    word = "girl" if sex == "female" else "boy"
    return (
        Prompt(f"1{word}", sex),
        Prompt(f"1{word}, solo", sex),
        Prompt(f"a {word}", sex),
        Prompt(f"1{word}, solo, full body", sex, "full"),
        Prompt(f"1{word}, solo, upper body", sex, "half"),
    )


PERSONS: tuple[Prompt, ...] = (
    *_bare("female"),
    *_bare("male"),
    Prompt(
        "1girl, solo, full body, arms at sides, standing, black hair, long hair, green dress, "
        "plain background",
        "female",
        "full",
        names_clothes=True,
    ),
    Prompt(
        "1boy, solo, upper body, hands on hips, black hair, short hair, red shirt, "
        "blue trousers, cluttered background",
        "male",
        "half",
        names_clothes=True,
    ),
    Prompt(
        "1girl, solo, full body, arms up, standing, brown hair, short hair, yellow shirt, "
        "purple skirt, plain background",
        "female",
        "full",
        names_clothes=True,
    ),
)
"""Five prompts for a woman, five for a man, and three long ones.

The words are tags of WD14, which writes training captions; the mannequin's captions use them too,
so that one suite serves every base."""

SUITES: Mapping[str, tuple[Prompt, ...]] = {"persons": PERSONS}


def unknown_suite(suite: Mapping[str, object]) -> str | None:
    """Return a sentence if `suite` has no prompts of its own and its name is no shipped suite's."""
    name = suite.get("name", "persons")
    if "prompts" in suite or not isinstance(name, str) or name in SUITES:
        return None
    if not NAME.fullmatch(name):
        return None  # reported as a problem of the name
    return f"no shipped suite {show(name)} (known: {', '.join(SUITES)}); give it prompts"


def _appended(suite: Mapping[str, object]) -> Mapping[str, object]:
    """Return the values of a suite with `append` at the end of each prompt."""
    words, prompts = suite.get("append"), suite["prompts"]
    if not isinstance(words, str) or not words.strip(" ,") or forbidden_words(words):
        return suite  # nothing to append, or reported as a wrong value
    if not isinstance(prompts, tuple) or not all(isinstance(each, Prompt) for each in prompts):
        return suite
    whole = tuple(replace(each, text=f"{each.text}, {words.strip(' ,')}") for each in prompts)
    return {**suite, "prompts": whole, "append": ""}


class SuiteConfig(StrictModel):
    """Prompts, noise seeds and sampling settings with which every trial is sampled.

    Without `prompts` it is the shipped suite called `name`. The last rung of a trial is sampled
    also at the sizes `also_at` (`train` means the trial's training size) and, with
    `also_with_alias`, with the trial's alias before each prompt; both are reported and never
    optimised. `append`, such as quality tags, becomes a part of each prompt when a suite is read,
    and is empty from then on.
    """

    name: Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")] = Field(
        default="persons", description=NAME_RULE
    )
    prompts: tuple[Prompt, ...] = Field(
        default=(), min_length=1, description="a list of {text, sex, framing, names_clothes}"
    )
    append: str = Field(default="", max_length=2000, description="text; words after each prompt")
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
    _first_seed: int = PrivateAttr(default=0)

    @check(mode="before")
    @classmethod
    def _whole_prompts(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        if "prompts" not in data:
            if (problem := unknown_suite(data)) is not None:
                raise ValueError(problem)
            data = {**data, "prompts": SUITES.get(str(data.get("name")), PERSONS)}
        return _appended(data)

    @field_validator("append")
    @classmethod
    def _no_child(cls, value: str) -> str:
        if words := forbidden_words(value):
            raise ValueError(f"names a child ({', '.join(words)})")
        return value

    @field_validator("size")
    @classmethod
    def _is_size(cls, value: int | str) -> int | str:
        parse_size(value)
        return value

    @field_validator("also_at")
    @classmethod
    def _are_sizes(cls, value: tuple[int | str, ...]) -> tuple[int | str, ...]:
        sizes = [size if size == TRAIN_SIZE else as_text(parse_size(size)) for size in value]
        if len(set(sizes)) < len(sizes):
            raise ValueError("a size is listed twice")
        return value

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height in pixels of the samples."""
        return parse_size(self.size)

    def cells(self) -> tuple[tuple[Prompt, int], ...]:
        """Return every prompt with every seed: (p0, 0), (p0, 1), ..., (p1, 0), (p1, 1), ..."""
        seeds = range(self._first_seed, self._first_seed + self.seeds)
        return tuple((prompt, seed) for prompt in self.prompts for seed in seeds)

    @property
    def samples(self) -> int:
        """Number of samples: prompts x seeds."""
        return len(self.prompts) * self.seeds

    @property
    def first_seed(self) -> int:
        """First noise seed of each prompt; 0 except in a fresh suite."""
        return self._first_seed

    def fresh(self, seeds: int, first_seed: int | None = None) -> SuiteConfig:
        """Return the suite with other noise: `seeds` seeds for each prompt from `first_seed` on.

        By default they follow the suite's own seeds, with which trials are sampled.
        """
        suite = self.model_copy(update={"seeds": seeds})
        suite._first_seed = self.seeds if first_seed is None else first_seed
        return suite

    def seeds_for(self, samples: int) -> int:
        """Return the number of seeds for each prompt that gives at least `samples` samples."""
        return math.ceil(samples / len(self.prompts))

    def places(self, seeds: int | None = None) -> list[int]:
        """Return the places in `cells` of each prompt's first `seeds` seeds (None: all)."""
        kept = self.seeds if seeds is None else seeds
        return [place for place in range(self.samples) if place % self.seeds < kept]


class JudgedConfig(StrictModel):
    """Settings of a study of existing files, which `tuner judge` writes; no search space has them.

    Its suite has the `alias` before each prompt already. With `without_alias` some prompts are
    drawn without it too. With `as_base` the files are whole checkpoints. `steps` and
    `guidance_scale` replace the own defaults of a base that is no Stable Diffusion 1.x or 2.x, for
    which those of the suite do not count.
    """

    alias: str | None = Field(default=None, min_length=1, description="null or a word")
    without_alias: bool = Field(default=False, description="true, false")
    as_base: bool = Field(default=False, description="true, false")
    steps: int | None = Field(
        default=None, ge=1, le=1000, description="null or a whole number from 1 to 1000"
    )
    guidance_scale: float | None = Field(
        default=None, ge=0, le=50, description="null or a number in [0, 50]"
    )

    @field_validator("alias")
    @classmethod
    def _names_no_child(cls, value: str | None) -> str | None:
        if value is not None and forbidden_words(value):
            raise ValueError("the alias names a child")
        return value
