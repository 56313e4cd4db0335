"""The experiments (a) to (i) on the mannequin: their arms and their comparisons.

Every arm changes one thing of the default run, or of the arm that it is compared with. Arms with
the same training settings share their training; see world.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tuner.space import SuiteConfig, TrainConfig
from tuner.trial.alias_leak import with_alias

ALIAS = "mi_cv"
DEFAULTS: Mapping[str, object] = {
    "captions": "all",
    "rank": 16,
    "learning_rate": 1e-3,
    "resolution": 64,
    "empty_prompt": 0.1,
    "batch_size": 16,
}

Expected = Literal["higher", "lower", "alike", "open"]


@dataclass(frozen=True)
class Scale:
    """Size of a run: optimizer steps, and noise seeds for each of the suite's 13 prompts."""

    steps: int = 300
    noise_seeds: int = 8


@dataclass(frozen=True)
class Arm:
    """One way to train and sample, as its differences from the default run.

    `train` overrides TrainConfig, `suite` SuiteConfig; `data` is a variant of the mannequin's
    data; `times` multiplies the steps. `lora` is False for the base as it is.
    """

    name: str
    train: Mapping[str, object] = field(default_factory=dict)
    data: str = "rare_males"
    suite: Mapping[str, object] = field(default_factory=dict)
    times: int = 1
    lora: bool = True

    def train_config(self, seed: int) -> TrainConfig:
        """Return the settings of the training run; its length is `steps`."""
        return TrainConfig.model_validate({**DEFAULTS, **self.train, "seed": seed})

    def steps(self, scale: Scale) -> int:
        """Return the number of optimizer steps of this arm."""
        return scale.steps * self.times

    def suite_config(self, scale: Scale, seed: int) -> SuiteConfig:
        """Return the suite with the noise of training seed `seed`."""
        count = scale.noise_seeds
        return SuiteConfig.model_validate(self.suite).fresh(count, seed * count)


@dataclass(frozen=True)
class Comparison:
    """`arm` minus `against` on one measure (named in world_measures.py).

    `expected` is the result of the hand-run series; `alike` means that no difference beyond 0.1 is
    expected, `open` that there is no expectation.
    """

    arm: Arm
    against: Arm
    measure: str
    expected: Expected


@dataclass(frozen=True)
class Effect:
    """One experiment: its letter, its question, and its comparisons, the main one first."""

    letter: str
    question: str
    comparisons: tuple[Comparison, ...]

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Arms of all comparisons, each once; `against` comes before `arm`."""
        pairs = [arm for each in self.comparisons for arm in (each.against, each.arm)]
        return tuple({arm.name: arm for arm in pairs}.values())


def _aliased(arm: Arm) -> Arm:
    prompts = with_alias(SuiteConfig(), ALIAS).prompts
    return replace(arm, name=f"{arm.name}, alias asked", suite={"prompts": prompts})


def _sampled(arm: Arm, size: int) -> Arm:
    return replace(arm, name=f"{arm.name}, sampled at {size}", suite={"size": size})


BASE = Arm("base", lora=False)
ALL = Arm("all tags")
GENDER = Arm("gender tags", {"captions": "gender"})
NONE = Arm("no captions", {"captions": "none"})
BALANCED_ALL = replace(ALL, name="all tags, balanced", data="balanced")
BALANCED_GENDER = replace(GENDER, name="gender tags, balanced", data="balanced")
RATES = {rate: Arm(f"rate {rate:g}", {"learning_rate": rate}) for rate in (2e-5, 2e-4, 6e-3, 2e-2)}
FEW = Arm("40 pictures", {"captions": "gender", "learning_rate": 2e-3}, data="few")
LONG = replace(FEW, name="40 pictures, 10 x steps", times=10)
ALIASED = Arm("gender tags + alias", {"captions": "gender", "alias": ALIAS})
NEVER_EMPTY = Arm("empty prompt 0", {"empty_prompt": 0.0})
OFTEN_EMPTY = Arm("empty prompt 0.3", {"empty_prompt": 0.3})
AT_48 = Arm("trained at 48", {"resolution": 48})
AT_96 = Arm("trained at 96", {"resolution": 96})
MATTED = Arm("matted", data="matted")
ORIGINAL = Arm("original", data="original")

EFFECTS: tuple[Effect, ...] = (
    Effect(
        "a",
        "a sound LoRA beats the base on pose",
        (
            Comparison(GENDER, BASE, "pose", "higher"),
            Comparison(ALL, BASE, "pose", "higher"),
            Comparison(GENDER, BASE, "clothing", "higher"),
        ),
    ),
    Effect(
        "b",
        "all tags bind the clothes to clothes tags: bare prompts are undressed more often",
        (
            Comparison(ALL, GENDER, "undressed", "higher"),
            Comparison(GENDER, BASE, "undressed", "lower"),
            Comparison(ALL, BASE, "undressed", "open"),
            Comparison(NONE, GENDER, "undressed", "open"),
            Comparison(ALL, GENDER, "pose", "open"),
        ),
    ),
    Effect(
        "c",
        "with 5 % males in the data, `1boy` turns female; balanced data keep it male",
        (
            Comparison(BALANCED_ALL, ALL, "boys right", "higher"),
            Comparison(BALANCED_GENDER, GENDER, "boys right", "higher"),
            Comparison(ALL, BASE, "boys right", "lower"),
            Comparison(GENDER, BASE, "boys right", "lower"),
            Comparison(BALANCED_ALL, ALL, "girls right", "open"),
        ),
    ),
    Effect(
        "d",
        "learning rate: nothing, then sound, then collapse",
        (
            Comparison(RATES[2e-2], ALL, "quality", "lower"),
            Comparison(RATES[2e-2], ALL, "pose", "lower"),
            Comparison(RATES[2e-5], BASE, "pose", "alike"),
            Comparison(RATES[2e-5], ALL, "changed", "lower"),
            Comparison(RATES[2e-4], ALL, "changed", "lower"),
            Comparison(RATES[6e-3], ALL, "changed", "higher"),
            Comparison(RATES[6e-3], ALL, "pose", "open"),
        ),
    ),
    Effect(
        "e",
        "ten times the steps on 40 pictures: blur, and copies of the training images",
        (
            Comparison(LONG, FEW, "copies", "higher"),
            Comparison(LONG, FEW, "blur", "higher"),
            Comparison(LONG, BASE, "blur", "higher"),
            Comparison(FEW, BASE, "blur", "open"),
            Comparison(LONG, FEW, "quality", "lower"),
            Comparison(LONG, FEW, "pose", "open"),
            Comparison(LONG, BASE, "pose", "open"),
            Comparison(LONG, FEW, "undressed", "open"),
        ),
    ),
    Effect(
        "f",
        "an alias limits the change to prompts that have it",
        (
            Comparison(ALIASED, GENDER, "changed", "lower"),
            Comparison(_aliased(ALIASED), ALIASED, "undressed", "lower"),
            Comparison(_aliased(ALIASED), GENDER, "pose", "open"),
            Comparison(_aliased(ALIASED), ALIASED, "pose", "open"),
            Comparison(_aliased(ALIASED), _aliased(BASE), "pose", "higher"),
        ),
    ),
    Effect(
        "g",
        "empty-prompt probability 0, 0.1, 0.3 with all tags",
        (
            Comparison(OFTEN_EMPTY, ALL, "undressed", "higher"),
            Comparison(OFTEN_EMPTY, ALL, "pose", "open"),
            Comparison(NEVER_EMPTY, ALL, "undressed", "open"),
            Comparison(NEVER_EMPTY, ALL, "pose", "open"),
            Comparison(OFTEN_EMPTY, NEVER_EMPTY, "undressed", "higher"),
        ),
    ),
    Effect(
        "h",
        "the sampling size has to follow the training size (64 px if not stated)",
        (
            Comparison(_sampled(AT_96, 96), _sampled(ALL, 96), "pose", "higher"),
            Comparison(_sampled(AT_96, 96), _sampled(BASE, 96), "pose", "higher"),
            Comparison(AT_96, ALL, "pose", "lower"),
            Comparison(_sampled(ALL, 96), ALL, "pose", "lower"),
            Comparison(_sampled(AT_48, 48), _sampled(ALL, 48), "pose", "higher"),
            Comparison(AT_48, ALL, "pose", "lower"),
        ),
    ),
    Effect(
        "i",
        "original grounds against matted ones: people worse, grounds richer",
        (
            Comparison(ORIGINAL, MATTED, "pose", "lower"),
            Comparison(ORIGINAL, MATTED, "ground", "higher"),
            Comparison(ORIGINAL, MATTED, "clothing", "open"),
            Comparison(MATTED, ALL, "pose", "open"),
        ),
    ),
)
