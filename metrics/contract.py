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
FramingClass = Literal["full", "knee-up", "half", "portrait", "none"]
"""How much of the figure the frame shows; `none` where no figure is read."""
Family = Literal["pose", "gender", "clothing", "quality", "framing", "prompt_fit"]
Image = npt.NDArray[np.uint8]
"""An RGB picture, shape (H, W, 3), values 0 to 255."""
Halves = npt.NDArray[np.float16]
"""What is kept of a sample: at this precision it is read back as it was."""

OBJECTIVES = ("pose", "gender", "clothing", "quality")
"""The objectives that a study has unless it names others; metrics/objectives.py works them out."""

SET_OBJECTIVES = ("layout", "framing", "prompt_fit", "likeness", "diversity")
"""The measures of a set of samples that lie in [0, 1] with 1 good, so that a study can ask for
them as objectives; metrics/measures.py works them out."""


TRAITS_NOT_ASKED = "the prompt names no trait that is asked about"
"""The reason for which the prompt's fit is not judged, and the sample is not counted at all."""


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

    @property
    def cell(self) -> tuple[str, int]:
        """What it is paired by with a sample of another LoRA: its prompt's text and its seed."""
        return self.prompt.text, self.seed


@dataclass(frozen=True)
class Score:
    """What one judge says of one sample.

    `value` lies in [0, 1], 1 is good; None is an abstention and `reason` says why. `evidence`
    holds the measurements behind the value, as JSON-ready numbers and words. `version` is that of
    the judge (metrics.version), None where the judge was not asked through `metrics.score`.
    """

    judge: str
    value: float | None
    reason: str | None = None
    evidence: Mapping[str, float | int | str | bool | list[float]] = field(default_factory=dict)
    version: str | None = None


@dataclass(frozen=True, eq=False)
class Features:
    """What is kept of one sample for the questions that are asked of a whole set.

    `box` (4,): left, top, right, bottom of the main figure; `joints` (13, 2): x and y of
    metrics.features.JOINTS, outside 0 to 1 where they lie outside the frame; both as shares of
    the picture, None where no figure is read. `embedding` (d,): open_clip's unit vector of the
    figure's crop, None without a figure or a model. `thumbnail` (8, 8, 3): RGB, 0 to 1.
    """

    framing: FramingClass
    thumbnail: Halves
    box: Halves | None = None
    joints: Halves | None = None
    embedding: Halves | None = None


@dataclass(frozen=True)
class ScoredSample:
    """A sample with the score of every judge, by the judge's name, and its features.

    `features` is None where they were not read.
    """

    sample: Sample
    scores: Mapping[str, Score]
    features: Features | None = None


@dataclass(frozen=True)
class Judge:
    """One question that is asked of every sample; `score` answers with a Score of that name.

    `models` names the fields of JudgeSettings whose network it asks: with another network there,
    it is another judge.
    """

    name: str
    family: Family
    score: Callable[[Sample, Evidence], Score]
    models: tuple[str, ...] = ()


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
class Measure:
    """What a set of samples is like, with its 95 % interval: one number, or none and why.

    `n` counts the samples that could be looked at, `total` those that were asked about. `note`
    says why there is no number, or what it means; the three numbers are None together.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    total: int
    note: str | None = None


@dataclass(frozen=True)
class JudgeSettings:
    """Which models the judges use.

    `gender_model` is `NAME/PRETRAINED` as open_clip names them, or a folder that holds
    `open_clip_config.json` and `open_clip_model.safetensors`; None: nobody's sex is judged.
    `person_model` is a `.pt` file of ultralytics, or a folder that holds `yolo.yaml` and
    `yolo.safetensors`; None: persons are not counted.
    `tells`: the traits of metrics.prompt_fit.TRAITS that the gender model is asked about; None:
    all. Name those that it was measured to tell. `nobody` among them, or None: the gender judge
    asks it whether there is anybody at all.
    `sex_margin` is the least difference of the two sexes' probabilities, 0 to 1, that counts as an
    answer; None: that of metrics.gender. Give what a model was measured to need.
    `sex_threshold`, between 0 and 1, is the probability of a woman from which one is more likely
    than a man; None: one half. At the one that `tuner selfcheck` prints, women and men are
    mistaken equally often.
    `copy_model` is what pictures are compared with when copies are sought, in one of the forms of
    metrics.detectors.embedding; None: the gender model.
    """

    gender_model: str | None = "ViT-L-14/openai"
    person_model: str | None = None
    tells: tuple[str, ...] | None = None
    sex_margin: float | None = None
    sex_threshold: float | None = None
    copy_model: str | None = None
