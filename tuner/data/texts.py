"""The captions of a training set as the text encoder reads them: once for all, or at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
import transformers

from tuner.data.captions import drawn_caption, training_caption
from tuner.data.folder import TrainingSet, epoch
from tuner.models import BaseModel
from tuner.space import TrainConfig


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
        hidden = _kept_or_read(base, tokens, config.clip_skip)
    return Texts(distinct, tokens, rows, torch.tensor(epoch(training_set.images)), hidden)


def _kept_or_read(base: BaseModel, tokens: torch.Tensor, clip_skip: int) -> torch.Tensor:
    """The states of all `tokens`, from the base's tensor cache where they were read before."""

    @torch.no_grad()
    def read() -> dict[str, torch.Tensor]:
        encoder = base.pipeline.text_encoder
        parts = [states(encoder, part, clip_skip) for part in torch.split(tokens, 64)]
        return {"hidden": torch.cat(parts)}

    if base.tensor_cache is None:
        return read()["hidden"]
    # By the tokens, which a changed policy, alias or tokenizer changes.
    made_of = (clip_skip, transformers.__version__, base.device.type, tokens.tolist())
    return base.tensor_cache.tensors("text_encoder", made_of, read)["hidden"].to(base.device)


def states(encoder: torch.nn.Module, tokens: torch.Tensor, clip_skip: int) -> torch.Tensor:
    """What the UNet sees of `tokens`: (captions, tokens, width).

    With `clip_skip` 1 it is the text encoder's output; with 2 and more that of the layer before
    its last and so on, through the final norm, as A1111 and kohya's trainer count.
    """
    if clip_skip == 1:
        return encoder(tokens)[0]  # type: ignore[no-any-return]
    # transformers dropped the level `text_model.` of CLIPTextModel in 5.6.
    inner = getattr(encoder, "text_model", encoder)
    hidden = encoder(tokens, output_hidden_states=True).hidden_states[-clip_skip]
    return inner.final_layer_norm(hidden)  # type: ignore[no-any-return, union-attr, operator]


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
    return tokenized(base.pipeline.tokenizer, captions).to(base.device)


def tokenized(tokenizer: Any, captions: Sequence[str]) -> torch.Tensor:
    """The tokens (captions, tokens), padded and cut to the tokenizer's length."""
    tokens: torch.Tensor = tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return tokens
