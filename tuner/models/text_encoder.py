"""Turn captions into tokens, and tokens into the states that condition the UNet.

A text of more than 75 tokens is encoded in chunks of 75, each between its own marks of start and
end, as kohya's trainer does with `max_token_length` 150 and 225.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tuner.errors import ConfigError
from tuner.models.clip_tokenizer import MOST_CHUNKS


def states(encoder: Any, tokens: torch.Tensor, clip_skip: int) -> torch.Tensor:
    """Encode `tokens` of `tokenized` to the states that condition the UNet.

    They are (captions, 2 + 75 * chunks, width): of several chunks only the first mark of start and
    the last mark of end stay.

    With `clip_skip` 1 they are the text encoder's output; with 2 the output of the layer before its
    last, and so on, through the final norm, as A1111 and kohya's trainer count. Raises ConfigError
    for a layer that the encoder does not have.
    """
    parts = _layer(encoder, _chunked(encoder, tokens), clip_skip)
    return _joined(parts, len(tokens))


def states_and_pooled(
    encoder: Any, tokens: torch.Tensor, clip_skip: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Encode `tokens` without the final norm, as Stable Diffusion XL reads both its encoders.

    The states have the shape of `states`. The second value is the projected text (captions, width)
    of the first chunk, None for an encoder that projects nothing. Raises ConfigError for a layer
    that the encoder does not have.
    """
    _require_layer(encoder, clip_skip)
    chunked = _chunked(encoder, tokens)
    output = encoder(chunked, output_hidden_states=True)
    pooled = getattr(output, "text_embeds", None)
    if pooled is not None:
        pooled = pooled[:: len(chunked) // len(tokens)]
    return _joined(output.hidden_states[-clip_skip], len(tokens)), pooled


def _chunked(encoder: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Return the chunks of all captions as rows; the tokens themselves if there is one each."""
    length = int(encoder.config.max_position_embeddings)
    return tokens.reshape(-1, length) if tokens.shape[1] > length else tokens


def _joined(parts: torch.Tensor, captions: int) -> torch.Tensor:
    if len(parts) == captions:
        return parts
    parts = parts.reshape(captions, -1, *parts.shape[1:])
    texts = parts[:, :, 1:-1].flatten(1, 2)
    return torch.cat([parts[:, 0, :1], texts, parts[:, -1, -1:]], dim=1)


def _layer(encoder: Any, tokens: torch.Tensor, clip_skip: int) -> torch.Tensor:
    if clip_skip == 1:
        return encoder(tokens)[0]  # type: ignore[no-any-return]
    _require_layer(encoder, clip_skip)
    # transformers dropped the level `text_model.` of CLIPTextModel in 5.6.
    inner = getattr(encoder, "text_model", encoder)
    hidden = encoder(tokens, output_hidden_states=True).hidden_states[-clip_skip]
    return inner.final_layer_norm(hidden)  # type: ignore[no-any-return, union-attr, operator]


def _require_layer(encoder: Any, clip_skip: int) -> None:
    layers = int(encoder.config.num_hidden_layers)
    if clip_skip > layers:
        raise ConfigError(f"clip_skip: found {clip_skip}, allowed: 1 to {layers}, the layers of it")


def chunks_of(tokenizer: Any, captions: Sequence[str]) -> int:
    """Return the number of chunks that the longest of `captions` needs, 1 to MOST_CHUNKS."""
    inside = int(tokenizer.model_max_length) - 2
    return max([1, *(-(-len(row) // inside) for row in _plain_tokens(tokenizer, captions))])


def cut_texts(tokenizer: Any, captions: Sequence[str]) -> int:
    """Return how many of `captions` have more tokens than MOST_CHUNKS chunks hold."""
    most = MOST_CHUNKS * (tokenizer.model_max_length - 2)
    rows = _plain_tokens(tokenizer, captions, most + 1)
    return sum(len(row) > most for row in rows)


def tokenized(tokenizer: Any, captions: Sequence[str], chunks: int | None = None) -> torch.Tensor:
    """Return the tokens (captions, length * chunks), each padded or cut.

    `chunks` is by default what the longest caption needs, at most MOST_CHUNKS.
    """
    length = tokenizer.model_max_length
    if chunks is None:
        chunks = chunks_of(tokenizer, captions)
    if chunks == 1:
        tokens: torch.Tensor = tokenizer(
            list(captions),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return tokens
    inside = length - 2
    rows = []
    for plain in _plain_tokens(tokenizer, captions):
        row: list[int] = []
        for start in range(0, chunks * inside, inside):
            part = plain[start : start + inside]
            row += [tokenizer.bos_token_id, *part, tokenizer.eos_token_id]
            row += [tokenizer.pad_token_id] * (inside - len(part))
        rows.append(row)
    return torch.tensor(rows)


def _plain_tokens(
    tokenizer: Any, captions: Sequence[str], most: int | None = None
) -> list[list[int]]:
    """Return the tokens of each caption without marks, cut to `most` or to MOST_CHUNKS chunks."""
    if most is None:
        most = MOST_CHUNKS * (tokenizer.model_max_length - 2)
    tokens: list[list[int]] = tokenizer(
        list(captions), add_special_tokens=False, truncation=True, max_length=most
    ).input_ids
    return tokens
