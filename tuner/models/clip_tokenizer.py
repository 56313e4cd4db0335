"""CLIP's tokenizer, whole or reduced, from the byte-pair merges in the open_clip package.

Tokens are counted without torch, so that `tuner check` starts quickly.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

    from tuner.models.stored.families import Layout

_Key = TypeVar("_Key")
Merge = tuple[str, str]

CHUNK = 75
"""Tokens that a text encoder of CLIP reads at once, between its marks of start and end."""

MOST_CHUNKS = 3
"""Longer texts are encoded in up to this many chunks, as with kohya's `max_token_length: 225`."""

_START, _END = "<|startoftext|>", "<|endoftext|>"
_MERGES = 49152 - 256 - 2
"""Number of the file's merges that CLIP uses: its vocabulary without the bytes and two marks."""


def all_merges() -> list[Merge]:
    """Return CLIP's merges, the most frequent first (Radford et al. 2021, openai/CLIP)."""
    spec = importlib.util.find_spec("open_clip")  # importing it would import torch
    assert spec is not None, "open_clip is a dependency"
    assert spec.origin is not None, "open_clip is a folder with files"
    path = Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    pairs = (line.split() for line in lines[1 : _MERGES + 1])
    return [(first, second) for first, second in pairs]


def clip_tokenizer(merges: Sequence[Merge], padding: str = _END) -> CLIPTokenizer:
    """Return a tokenizer of all bytes and `merges`; `all_merges()` give Stable Diffusion 1.5's.

    All 512 byte tokens are included, so every text can be encoded. Padded to 77 with the end mark;
    those of open_clip's text encoders pad with `!`, which is token 0.
    """
    from transformers import CLIPTokenizer

    return CLIPTokenizer(
        vocab=_vocabulary(merges),
        merges=list(merges),
        unk_token=_END,
        bos_token=_START,
        eos_token=_END,
        pad_token=padding,
        model_max_length=CHUNK + 2,
    )


def shipped_tokenizers(layout: Layout, config: Path) -> dict[str, CLIPTokenizer]:
    """Return the tokenizers that belong to a shipped configuration; none for a user's folder."""
    shipped = layout.shipped_at(config)
    if shipped is None:
        return {}
    merges = all_merges()
    pairs = zip(layout.encoders, shipped.padding, strict=True)
    return {encoder.tokenizer: clip_tokenizer(merges, padding) for encoder, padding in pairs}


def longer(texts: Mapping[_Key, str]) -> dict[_Key, int]:
    """Return those of `texts` that are cut, with the number of their tokens.

    They have more than MOST_CHUNKS * CHUNK tokens of Stable Diffusion's vocabulary.
    """
    most = MOST_CHUNKS * CHUNK
    doubtful = {key: text for key, text in texts.items() if len(text.encode()) > most}
    if not doubtful:
        return {}
    counter = _counter()
    counts = {key: len(counter.encode(text).ids) for key, text in doubtful.items()}
    return {key: count for key, count in counts.items() if count > most}


def _counter() -> Tokenizer:
    """Return CLIP's tokenizer without its marks (Radford et al. 2021, openai/CLIP)."""
    merges = all_merges()
    tokenizer = Tokenizer(
        models.BPE(_vocabulary(merges), merges, unk_token=_END, end_of_word_suffix="</w>")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return tokenizer


def _vocabulary(merges: Sequence[Merge]) -> dict[str, int]:
    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(m) for m in merges)]
    return {token: index for index, token in enumerate([*tokens, _START, _END])}


def _byte_letters() -> list[str]:
    """Return CLIP's printable letters for the 256 bytes, in order (Radford et al. 2019, GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(b) for b in plain] + [chr(256 + n) for n in range(len(others))]
