"""The data types that judges and their callers share: prompts, samples, scores, objectives.

Plain data only: nothing here loads a model, opens a file or knows the source of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Sex = Literal["female", "male"]
Domain = Literal["drawn", "photographic"]
"""Kind of pictures: flat drawings like the mannequin's; or photographs and what looks like them."""
Framing = Literal["full", "half"]
FramingClass = Literal["full", "knee-up", "half", "portrait", "none"]
"""The part of the figure that the frame shows; `none` where no figure is read."""
Image = npt.NDArray[np.uint8]
"""An RGB picture, shape (H, W, 3), values 0 to 255."""
BATCH = 8
"""Samples whose figures go through the open_clip model together: a processor then embeds a figure
by ViT-B-32 in 0.7 of the time, by ViT-L-14 in 0.9 (benchmarks/judge_batches.py). NudeNet gains
nothing there, and MediaPipe takes single pictures."""
Halves = npt.NDArray[np.float16]
"""Numbers that are stored of a sample, in half precision: reading them back changes nothing."""

OBJECTIVES = ("pose", "gender", "clothing", "quality")
"""The default objectives of a study; metrics/objectives.py computes them."""

SET_OBJECTIVES = ("layout", "framing", "prompt_fit", "likeness", "diversity", "identity")
"""The measures of a set of samples that lie in [0, 1], where 1 is good, so that a study can use
them as objectives; metrics/sets/measures.py computes them."""


OPTIONAL_MODELS = ("pose_model", "parser_model", "vlm")
"""The fields of JudgeSettings whose judges are used only where a model is named."""

DLIB, SFACE = "dlib", "sface"
"""The words for networks that tell faces apart; any other is an `.onnx` file of the user's own."""

NO_TRAITS = "the prompt names no trait that is asked about"
"""The reason of a prompt-fit score without a value; such a sample is not counted at all."""


ADULT = 18
"""Years: the age from which a person is adult."""


@dataclass(frozen=True)
class Prompt:
    """One line of a suite: the text to sample and what it requires.

    `sex` and `framing` are None where the text requires neither. `names_clothes` is true where the
    text itself dresses the figure, so that the prompt does not test the model's habit.
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
        """Pairing key (prompt text, seed): samples of two LoRAs with the same key are compared."""
        return self.prompt.text, self.seed


@dataclass(frozen=True)
class Score:
    """The result of one judge for one sample.

    `value` lies in [0, 1], 1 is good; None is an abstention and `reason` gives the cause.
    `evidence` holds the measurements behind the value, as JSON-ready numbers and words. `version`
    is that of the judge (metrics.version), None where the judge was not called through
    `metrics.score`.
    """

    judge: str
    value: float | None
    reason: str | None = None
    evidence: Mapping[str, float | int | str | bool | list[float]] = field(default_factory=dict)
    version: str | None = None


@dataclass(frozen=True, eq=False)
class Features:
    """The numbers kept of one sample to measure whole sets of samples.

    `box` (4,): left, top, right, bottom of the main figure; `joints` (13, 2): x and y of
    `sets.features.JOINTS`, outside 0 to 1 where they lie outside the frame; both as shares of the
    picture, None where no figure is read. `embedding` (d,): open_clip's unit vector of the figure's
    crop, None without a figure or a model. `thumbnail` (8, 8, 3): RGB, 0 to 1. `faces` counts the
    faces, None where none were looked for; `face` (d,) is the vector of the largest one
    (metrics.detectors.identity), None where there is none or it is too small.
    """

    framing: FramingClass
    thumbnail: Halves
    box: Halves | None = None
    joints: Halves | None = None
    embedding: Halves | None = None
    faces: int | None = None
    face: Halves | None = None


@dataclass(frozen=True)
class ScoredSample:
    """A sample with the score of every judge, by the judge's name, and its features.

    `features` is None where they were not read.
    """

    sample: Sample
    scores: Mapping[str, Score]
    features: Features | None = None


@dataclass(frozen=True)
class Objective:
    """One number per trial with its 95 % interval.

    `value`, `low` and `high` lie in [0, 1]; `n` counts the samples that could be judged and `total`
    all samples that the objective applies to.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    total: int


@dataclass(frozen=True)
class Measure:
    """A measure of a set of samples with its 95 % interval, or a note that says why there is none.

    `n` counts the samples that could be measured, `total` all that the measure applies to. `note`
    says why there is no number, or what the number means. The three numbers are None together.
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
    """The models of the judges, the kind of the pictures, and the limits measured for them.

    `domain` is the kind of the pictures: a judge's evidence and calibration depend on it.

    `thresholds`: for a judge's name, the value between 0 and 1 below which a picture counts as
    faulty; the judge's values are moved so that it becomes one half. A judge that is not named
    keeps its own. Give those that sound pictures of the same kind were measured to need.

    `gender_model` is `NAME/PRETRAINED` as open_clip names them, or a folder that holds
    `open_clip_config.json` and `open_clip_model.safetensors`; None: the sex of figures is not
    judged.

    `person_model` is a `.pt` file of ultralytics, or a folder that holds `yolo.yaml` and
    `yolo.safetensors`; None: persons are not counted.

    `traits`: the names in `judges.prompt_fit.TRAITS` that the gender model is used for; None: all.
    Name traits that the model was measured to recognise. With `nobody` among them, or None, the
    gender judge also checks whether there is anybody at all.

    `sex_margin` is the least difference of the two sexes' probabilities, 0 to 1, that counts as an
    answer; None: that of metrics.judges.gender. Give the margin that a model was measured to need.

    `sex_threshold`, between 0 and 1, is the probability of a woman above which the figure counts as
    a woman; None: one half. At the threshold that `tuner selfcheck` prints, women and men are
    mistaken equally often.

    `copy_model` embeds pictures in order to find copies of training images, in one of the forms of
    metrics.detectors.embedding; None: the gender model.

    `pose_model` is a second network for poses: a ViTPose of transformers (hub id or folder), or a
    `.pt` file of ultralytics; `parser_model` is a human parser, `vlm` a vision-language model, both
    of transformers. A judge whose model is None is left out.

    `identity_model` tells faces of different persons apart, on photographs, in one of the forms of
    metrics.detectors.identity; None: faces are neither counted nor compared.
    """

    gender_model: str | None = "ViT-L-14/openai"
    person_model: str | None = None
    traits: tuple[str, ...] | None = None
    sex_margin: float | None = None
    sex_threshold: float | None = None
    copy_model: str | None = None
    pose_model: str | None = None
    parser_model: str | None = None
    vlm: str | None = None
    identity_model: str | None = None
    domain: Domain = "photographic"
    thresholds: Mapping[str, float] = field(default_factory=dict)
