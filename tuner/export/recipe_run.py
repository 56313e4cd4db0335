"""A trial's training run as other trainers need it, and what none of them has a setting for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.models.clip_tokenizer import CHUNK
from tuner.space import TrainConfig
from tuner.text import counted

WEIGHT_DECAY = 0.01
"""The weight decay of every optimizer of `tuner.training.optimizers`."""

LARGEST_SEED = 2**32 - 1
"""The largest seed that NumPy accepts, and with it every trainer."""


@dataclass(frozen=True)
class PictureFolder:
    """A folder of pictures with captions, and how often each is used in an epoch."""

    path: Path
    count: int
    repeats: int


@dataclass(frozen=True)
class TrainedRun:
    """The run of a trial, in the units of `tuner`: steps are optimizer steps.

    `base` is a path or hub id; it is of Stable Diffusion 2 if `second`, of Stable Diffusion XL if
    `is_xl`, and predicts the velocity if `velocity`, with zero terminal SNR if `zero_snr`. The
    longest caption has `chunks` of 75 tokens, and captions have tags of quality or rating if
    `rates_quality`. The run is trained for `steps`; the file that was scored is that of step
    `kept_step`. `pictures` are the training pictures and `prior` those of regularisation, empty
    without prior preservation. Sides of buckets are multiples of `bucket_step` pixels.
    """

    train: TrainConfig
    base: str
    second: bool
    velocity: bool
    steps: int
    kept_step: int
    pictures: tuple[PictureFolder, ...]
    prior: tuple[PictureFolder, ...] = ()
    bucket_step: int = 64
    zero_snr: bool = False
    chunks: int = 1
    is_xl: bool = False
    rates_quality: bool = False

    @property
    def is_whole(self) -> bool:
        """True if whole weights are trained (DreamBooth), not a LoRA."""
        return self.train.method == "dreambooth"

    @property
    def text_shares(self) -> tuple[float, ...]:
        """The share of the UNet's rate of each text encoder; 0 for a frozen one."""
        shares = self.train.shares
        first = shares["text_encoder"]
        return (first, shares["text_encoder_2"]) if self.is_xl else (first,)

    @property
    def text_rates(self) -> tuple[float, ...]:
        """Learning rate of each text encoder; 0 if it is not trained."""
        return tuple(self.train.learning_rate * share for share in self.text_shares)

    @property
    def trains_text(self) -> bool:
        """True if a text encoder is trained."""
        return any(self.text_shares)

    @property
    def skipped_layers(self) -> int:
        """Layers at the end of the text encoders that are left out beside the base's own.

        Stable Diffusion XL itself reads the last layer but one.
        """
        return max(self.train.clip_skip, 2) - 2 if self.is_xl else self.train.clip_skip - 1

    @property
    def fixed_tags(self) -> int:
        """Number of tags at the start of a caption that stay in place, the alias included."""
        return self.train.keep_first + (self.train.alias is not None)

    @property
    def accumulation(self) -> int:
        """Batches of one optimizer step where regularisation pictures share the batches.

        A step of `tuner` trains on as many batches of them as of training pictures.
        """
        return self.train.gradient_accumulation * (2 if self.prior else 1)

    @property
    def rate_is_shared(self) -> bool:
        """True if UNet and text encoders are trained at one rate, or only the UNet is."""
        return set(self.text_shares) in ({0.0}, {1.0})

    @property
    def area_side(self) -> int:
        """Side in pixels of the square that has the area of the resolution."""
        return round(math.sqrt(self.train.size[0] * self.train.size[1]))

    @property
    def is_square(self) -> bool:
        """True if the resolution is a square."""
        return self.train.size[0] == self.train.size[1]


def used(folders: Sequence[PictureFolder]) -> int:
    """Return the number of pictures of an epoch, each counted as often as it is used."""
    return sum(folder.count * folder.repeats for folder in folders)


def cut_captions(run: TrainedRun) -> tuple[bool, str]:
    """Return the note for a trainer that reads one chunk of a caption, and whether it applies."""
    text = "captions: only their first 75 tokens are read there; the trial reads up to"
    return run.chunks > 1, f"{text} {run.chunks * CHUNK}"


def common_notes(run: TrainedRun) -> list[str]:
    """Return a line for each setting that no trainer has, beginning with its key."""
    train, notes = run.train, []
    if train.first_captions is not None:
        notes.append(
            f"first_captions: captions are those of `{train.captions}` for the whole run; the "
            f"trial used `{train.first_captions}` for the first {train.first_share:.0%} of its "
            "steps, and no trainer changes captions in between"
        )
    if run.steps != run.kept_step:
        notes.append(
            f"steps: the trial's rate falls along a cosine over {counted(run.steps, 'step')}; the "
            f"file that was scored is that of step {run.kept_step}"
        )
    if train.optimizer == "prodigy" and run.trains_text:
        notes.append(
            "optimizer: the trial estimates Prodigy's step size for UNet and text encoder "
            "separately, the trainer once for both"
        )
    if run.rates_quality and train.captions_vary:
        notes.append(
            "captions: tags of quality and rating are shuffled and left out there like all others; "
            "the trial keeps them, at the end"
        )
    return notes
