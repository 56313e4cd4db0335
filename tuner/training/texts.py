"""The captions of a training set as tokens and text-encoder states, fixed or new at each step."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
import transformers

from tuner.data import TrainingSet
from tuner.data.captions import drawn_caption, training_caption
from tuner.data.folder import epoch
from tuner.models import BaseModel
from tuner.models.clip_tokenizer import MOST_CHUNKS
from tuner.models.families.family import TextStates, joined
from tuner.models.text_encoder import cut_texts
from tuner.space import TrainConfig
from tuner.text import counted
from tuner.training.memory import sent


@dataclass(frozen=True)
class Texts:
    """Distinct captions of a training set; row 0 is the empty prompt.

    `rows` has the row of each picture and `epoch` the pictures of one epoch, by index. `tokens` is
    those of the base's family, a row a caption, with as many chunks as the longest needs. `states`
    are the text encoders' states of all rows, or None if one of them is trained or the captions
    vary.
    """

    captions: tuple[str, ...]
    tokens: torch.Tensor
    rows: torch.Tensor
    epoch: torch.Tensor
    states: TextStates | None


def texts_of(base: BaseModel, training_set: TrainingSet, config: TrainConfig) -> Texts:
    """Apply `config`'s caption policy and alias; return the texts, tensors on the base's device."""
    captions = [
        training_caption(image.caption, config.captions, config.alias)
        for image in training_set.images
    ]
    distinct = tuple(dict.fromkeys(["", *captions]))
    tokens = base.tokens(distinct)
    _warn_of_cut(base, distinct)
    place = {caption: row for row, caption in enumerate(distinct)}
    rows = torch.tensor([place[caption] for caption in captions])
    states = None
    if not config.trains_text and not config.captions_vary:
        states = _kept_or_read(base, tokens, config.clip_skip)
    return Texts(distinct, tokens, rows, torch.tensor(epoch(training_set.images)), states)


def _warn_of_cut(base: BaseModel, captions: Sequence[str]) -> None:
    most = MOST_CHUNKS * (base.pipeline.tokenizer.model_max_length - 2)
    if cut := cut_texts(base.pipeline.tokenizer, captions):
        warnings.warn(
            f"{counted(cut, 'caption')} with more than {most} tokens: the end is not trained on",
            stacklevel=2,
        )


def _kept_or_read(base: BaseModel, tokens: torch.Tensor, clip_skip: int) -> TextStates:
    """Return the states of all `tokens`, from the tensor cache if it has them."""

    @torch.no_grad()
    def read() -> dict[str, torch.Tensor]:
        return joined(
            [base.text_states(part, clip_skip) for part in torch.split(tokens, 64)]
        ).tensors()

    if base.tensor_cache is None:
        return TextStates(**read())
    # The tokens are the key: another policy, alias or tokenizer changes them.
    key = (clip_skip, transformers.__version__, base.device.type, tokens.tolist())
    kept = base.tensor_cache.tensors("text_encoder", key, read)
    return TextStates(**kept).to(base.device)


def step_tokens(
    base: BaseModel, texts: Texts, rows: torch.Tensor, config: TrainConfig, random: Random
) -> torch.Tensor:
    """Return the tokens of `rows` (on the CPU) for one step; captions that vary are drawn anew.

    The alias and the first `config.keep_first` tags stay; the empty prompt stays empty.
    """
    if not config.captions_vary:
        return texts.tokens[sent(rows, base.device)]
    fixed = config.keep_first + (config.alias is not None)
    drawn = [
        drawn_caption(texts.captions[row], fixed, config.shuffle_tags, config.tag_dropout, random)
        for row in rows.tolist()
    ]
    chunks = texts.tokens.shape[-1] // base.pipeline.tokenizer.model_max_length
    return base.tokens(drawn, chunks)
