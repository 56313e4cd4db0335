"""CLIP's tokenizer, whole or reduced, from the byte-pair merges in the open_clip package."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import open_clip
from transformers import CLIPTokenizer

Merge = tuple[str, str]

_START, _END = "<|startoftext|>", "<|endoftext|>"
_MERGES = 49152 - 256 - 2
"""Number of the file's merges that CLIP uses: its vocabulary without the bytes and two marks."""


def all_merges() -> list[Merge]:
    """Return CLIP's merges, the most frequent first (Radford et al. 2021, openai/CLIP)."""
    path = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    pairs = (line.split() for line in lines[1 : _MERGES + 1])
    return [(first, second) for first, second in pairs]


def clip_tokenizer(merges: Sequence[Merge]) -> CLIPTokenizer:
    """Return a tokenizer of all bytes and `merges`; `all_merges()` give Stable Diffusion 1.5's.

    All 512 byte tokens are included, so every text can be encoded. Padded with the end mark to 77.
    """
    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(m) for m in merges)]
    return CLIPTokenizer(
        vocab={token: index for index, token in enumerate([*tokens, _START, _END])},
        merges=list(merges),
        unk_token=_END,
        bos_token=_START,
        eos_token=_END,
        pad_token=_END,
        model_max_length=77,
    )


def _byte_letters() -> list[str]:
    """Return CLIP's printable letters for the 256 bytes, in order (Radford et al. 2019, GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(b) for b in plain] + [chr(256 + n) for n in range(len(others))]
