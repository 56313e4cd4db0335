"""Turn captions into tokens, and tokens into the states that condition the UNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tuner.models.base import BaseModel


def states(encoder: torch.nn.Module, tokens: torch.Tensor, clip_skip: int) -> torch.Tensor:
    """Encode `tokens` to the states that condition the UNet: (captions, tokens, width).

    With `clip_skip` 1 they are the text encoder's output; with 2 the output of the layer before its
    last, and so on, through the final norm, as A1111 and kohya's trainer count.
    """
    if clip_skip == 1:
        return encoder(tokens)[0]  # type: ignore[no-any-return]
    # transformers dropped the level `text_model.` of CLIPTextModel in 5.6.
    inner = getattr(encoder, "text_model", encoder)
    hidden = encoder(tokens, output_hidden_states=True).hidden_states[-clip_skip]
    return inner.final_layer_norm(hidden)  # type: ignore[no-any-return, union-attr, operator]


def tokens_of(base: BaseModel, captions: Sequence[str]) -> torch.Tensor:
    """Return the tokens (captions, tokens) on the base's device, padded or cut to its length."""
    return tokenized(base.pipeline.tokenizer, captions).to(base.device)


def tokenized(tokenizer: Any, captions: Sequence[str]) -> torch.Tensor:
    """Return the tokens (captions, tokens), padded or cut to the tokenizer's length."""
    tokens: torch.Tensor = tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return tokens
