"""Settings of one training run: every setting that a search may try, checked when it is made.

The fields are the keys of `train:` in a search space; each description is the sentence "allowed:
..." of its error line. Values are checked strictly: text is no number, true is not 1.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tuner.data import forbidden_words
from tuner.data.captions import NAMED, POLICY_RULE, policy_text
from tuner.errors import ConfigError
from tuner.space.problems import WORDS
from tuner.space.sizes import SIZE_RULE, parse_size

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names that become files, folders or prompt words; none of them can be a path."""

NAME_RULE = "1 to 64 characters A-Z a-z 0-9 . _ -, the first a letter or digit"

Targets = Literal["attention", "attention+feed_forward", "attention+feed_forward+convolutions"]
Optimizer = Literal["adamw", "adamw8bit", "prodigy", "lion"]
Schedule = Literal["constant", "cosine"]

_YES_NO = "true, false"
_SHARE = "a number in [0, 1]"


class StrictModel(BaseModel):
    """A configuration that is immutable, refuses unknown keys, and converts no types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TrainConfig(StrictModel):
    """Settings of one training run. The keys are those of `train:` in a search space."""

    method: Literal["lora", "dreambooth"] = Field(default="lora", description="lora, dreambooth")
    data: str | None = Field(default=None, description="the name of one of the folders in data")
    captions: str = Field(
        default="all", description=POLICY_RULE, json_schema_extra={WORDS: [*NAMED]}
    )
    first_captions: str | None = Field(
        default=None,
        description=f"null (no first stage) or {POLICY_RULE}",
        json_schema_extra={WORDS: [*NAMED]},
    )
    first_share: float = Field(default=0.5, ge=0, le=1, description=_SHARE)
    shuffle_tags: bool = Field(default=False, description=_YES_NO)
    keep_first: int = Field(default=1, ge=0, le=1000, description="a whole number from 0 to 1000")
    tag_dropout: float = Field(default=0.0, ge=0, le=1, description=_SHARE)
    alias: str | None = Field(
        default=None,
        max_length=64,
        pattern=f"^{NAME.pattern}$",
        description=f"null or a made-up word of {NAME_RULE}, which names no child",
    )
    rank: int = Field(default=16, ge=1, le=256, description="a whole number from 1 to 256")
    alpha: float | None = Field(
        default=None, gt=0, le=1024, description="null (as the rank) or a number in (0, 1024]"
    )
    target_modules: Targets = Field(
        default="attention",
        description="attention, attention+feed_forward, attention+feed_forward+convolutions",
    )
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, description="a number in [0, 1)")
    use_dora: bool = Field(default=False, description=_YES_NO)
    use_rslora: bool = Field(default=False, description=_YES_NO)
    optimizer: Optimizer = Field(default="adamw", description="adamw, adamw8bit, prodigy, lion")
    learning_rate: float = Field(default=5e-4, gt=0, le=1, description="a number in (0, 1]")
    text_encoder_ratio: float = Field(default=0.0, ge=0, le=1, description=_SHARE)
    text_encoder_2_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="null (as text_encoder_ratio) or a number in [0, 1]",
    )
    schedule: Schedule = Field(default="constant", description="constant, cosine")
    warmup_steps: int = Field(
        default=0, ge=0, le=100_000, description="a whole number from 0 to 100000"
    )
    resolution: int | str = Field(default=64, description=SIZE_RULE)
    buckets: bool = Field(default=False, description=_YES_NO)
    empty_prompt: float = Field(default=0.1, ge=0, le=1, description=_SHARE)
    batch_size: int = Field(default=16, ge=1, le=1024, description="a whole number from 1 to 1024")
    gradient_accumulation: int = Field(
        default=1, ge=1, le=1024, description="a whole number from 1 to 1024"
    )
    gradient_checkpointing: bool | None = Field(
        default=None, description="null (where memory is short), true, false"
    )
    min_snr_gamma: float | None = Field(
        default=None, gt=0, le=1000, description="null (off) or a number in (0, 1000]"
    )
    noise_offset: float = Field(default=0.0, ge=0, le=1, description=_SHARE)
    clip_skip: int = Field(
        default=1, ge=1, le=12, description="a whole number from 1 (the base's own layer) to 12"
    )
    prior_weight: float = Field(
        default=0.0, ge=0, le=100, description="a number in [0, 100]; 0 trains without"
    )
    steps: int | None = Field(
        default=None, ge=1, description="null (the last rung) or a whole number from 1"
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="a whole number from 0, less than 2^63"
    )

    @field_validator("resolution")
    @classmethod
    def _is_size(cls, value: int | str) -> int | str:
        parse_size(value)
        return value

    @field_validator("captions", mode="before")
    @classmethod
    def _is_policy(cls, value: object) -> str:
        return policy_text(value)

    @field_validator("first_captions", mode="before")
    @classmethod
    def _is_policy_or_none(cls, value: object) -> str | None:
        return None if value is None else policy_text(value)

    @field_validator("alias")
    @classmethod
    def _names_no_child(cls, value: str | None) -> str | None:
        if value is not None and forbidden_words(value):
            raise ValueError("the alias names a child")
        return value

    @property
    def lora_alpha(self) -> float:
        """The LoRA's alpha: `alpha`, or the rank if that is null."""
        return float(self.rank) if self.alpha is None else self.alpha

    @property
    def file_alpha(self) -> float:
        """The alpha to write to a file, where a LoRA acts with the strength alpha / rank.

        With `use_rslora` it acts with alpha / sqrt(rank) (Kalajdzievski 2023).
        """
        return self.lora_alpha * (math.sqrt(self.rank) if self.use_rslora else 1.0)

    @property
    def shares(self) -> dict[str, float]:
        """The share of the learning rate of each network, by its name; 0 for a frozen one."""
        first, second = self.text_encoder_ratio, self.text_encoder_2_ratio
        return {
            "unet": 1.0,
            "text_encoder": first,
            "text_encoder_2": first if second is None else second,
        }

    @property
    def trains_text(self) -> bool:
        """True if a text encoder is trained."""
        return self.text_encoder_ratio > 0 or (self.text_encoder_2_ratio or 0) > 0

    @property
    def captions_vary(self) -> bool:
        """True if a picture's caption may differ each time it is used."""
        return self.shuffle_tags or self.tag_dropout > 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the training pictures."""
        return parse_size(self.resolution)


def to_yaml(config: TrainConfig) -> str:
    """Return the parameters of a trial as the text of `train.yaml`; `read_yaml` reads it back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def read_yaml(path: Path) -> TrainConfig:
    """Return the parameters in the `train.yaml` at `path`.

    Raises ConfigError if it is missing or does not hold a trial's parameters.
    """
    try:
        return TrainConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is not there: the trial's files were removed, or this is a published study "
            "without them; use the folder that `tuner run` wrote"
        ) from None
    except PermissionError:
        raise
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} does not hold a trial's parameters: {error}") from error
