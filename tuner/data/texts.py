"""The captions of a training set as the text encoder reads them: once for all, or at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch

from tuner.base_model import BaseModel
from tuner.config import TrainConfig
from tuner.data.captions import drawn_caption, training_caption
from tuner.data.folder import TrainingSet, epoch


@dataclass(frozen=True)
class Texts:
    """The distinct captions of a training set; row 0 is the empty prompt.

    `rows` has the row of each picture and `epoch` the pictures that one epoch sees, by index.
    `tokens` is (rows, tokens). `hidden` are the text encoder's states (rows, tokens, width), or
    None where the text encoder is trained or the captions vary.
    """

    captions: tuple[str, ...]
    tokens: torch.Tensor
    rows: torch.Tensor
    epoch: torch.Tensor
    hidden: torch.Tensor | None


def texts_of(base: BaseModel, training_set: TrainingSet, config: TrainConfig) -> Texts:
    """The captions that `config` leaves of the training set's, on the base's device."""
    captions = [
        training_caption(image.caption, config.captions, config.alias)
        for image in training_set.images
    ]
    distinct = tuple(dict.fromkeys(["", *captions]))
    tokens = tokens_of(base, distinct)
    place = {caption: row for row, caption in enumerate(distinct)}
    rows = torch.tensor([place[caption] for caption in captions])
    hidden = None
    if config.text_encoder_ratio == 0 and not config.captions_vary:
        with torch.no_grad():
            states = [base.pipeline.text_encoder(part)[0] for part in torch.split(tokens, 64)]
        hidden = torch.cat(states)
    return Texts(distinct, tokens, rows, torch.tensor(epoch(training_set.images)), hidden)


def step_tokens(
    base: BaseModel, texts: Texts, rows: torch.Tensor, config: TrainConfig, random: Random
) -> torch.Tensor:
    """The tokens of `rows` (on the CPU) at one step, tags drawn anew where the captions vary.

    The alias and the first `config.keep_first` tags stay; the empty prompt stays empty.
    """
    if not config.captions_vary:
        return texts.tokens[rows.to(base.device)]
    fixed = config.keep_first + (config.alias is not None)
    drawn = [
        drawn_caption(texts.captions[row], fixed, config.shuffle_tags, config.tag_dropout, random)
        for row in rows.tolist()
    ]
    return tokens_of(base, drawn)


def tokens_of(base: BaseModel, captions: Sequence[str]) -> torch.Tensor:
    """The tokens (captions, tokens), padded and cut to the encoder's length, on its device."""
    tokenizer = base.pipeline.tokenizer
    tokens: torch.Tensor = tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return tokens.to(base.device)
