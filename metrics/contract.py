"""The words that judges and their callers share: prompts, samples, scores, objectives.

Plain data only. Nothing here loads a model, opens a file or knows where a picture came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from metrics.evidence import Evidence

Sex = Literal["female", "male"]
Framing = Literal["full", "half"]
Family = Literal["pose", "gender", "clothing", "quality"]
Image = npt.NDArray[np.uint8]
"""An RGB picture, shape (H, W, 3), values 0 to 255."""


@dataclass(frozen=True)
class Prompt:
    """One line of a suite: the text that is sampled and what it asks for.

    `sex` and `framing` are None where the text asks for neither; `names_clothes` is true where
    the text itself dresses the figure, so that the prompt says nothing about the model's habit.
    """

    text: str
    sex: Sex | None = None
    framing: Framing | None = None
    names_clothes: bool = False


@dataclass(frozen=True)
class Sample:
    """One generated picture with the prompt and seed that made it."""

    prompt: Prompt
    seed: int
    image: Image
    path: Path | None = None


@dataclass(frozen=True)
class Score:
    """What one judge says of one sample.

    `value` lies in [0, 1], 1 is good; None is an abstention and `reason` says why. `evidence`
    holds the measurements behind the value, as JSON-ready numbers and words.
    """

    judge: str
    value: float | None
    reason: str | None = None
    evidence: Mapping[str, float | int | str | bool | list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoredSample:
    """A sample with the score of every judge, by the judge's name."""

    sample: Sample
    scores: Mapping[str, Score]


@dataclass(frozen=True)
class Judge:
    """One question that is asked of every sample; `score` answers with a Score of that name."""

    name: str
    family: Family
    score: Callable[[Sample, Evidence], Score]


@dataclass(frozen=True)
class Objective:
    """One number per trial with its 95 % interval.

    `value`, `low` and `high` lie in [0, 1]; `n` counts the samples that could be judged and
    `total` those that were asked about.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    total: int


@dataclass(frozen=True)
class JudgeSettings:
    """Which models the judges use.

    `gender_model` is `NAME/PRETRAINED` as open_clip names them, or a folder that holds
    `open_clip_config.json` and `open_clip_model.safetensors`; None: nobody's sex is judged.
    `person_model` is a `.pt` file of ultralytics, or a folder that holds `yolo.yaml` and
    `yolo.safetensors`; None: persons are not counted.
    """

    gender_model: str | None = "ViT-L-14/openai"
    person_model: str | None = None
