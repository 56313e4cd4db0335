"""The small world's tokenizer: CLIP's own byte-pair merges, cut to the words that are spoken here.

All 512 byte tokens stay, so every text can be written; only rare words fall into more pieces.
"""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterable
from pathlib import Path

import open_clip
from transformers import CLIPTokenizer

from tuner.mannequin.corpus import ODD_WORDS
from tuner.mannequin.figure import ARM_POSES, BOTTOMS, CLOTH_COLOURS, HAIR_COLOURS, LEG_POSES, TOPS

_START, _END = "<|startoftext|>", "<|endoftext|>"
_SPOKEN = (
    *ARM_POSES,
    *LEG_POSES,
    *HAIR_COLOURS,
    *CLOTH_COLOURS,
    *TOPS,
    *BOTTOMS,
    *ODD_WORDS,
    "1girl 1boy solo a girl boy woman man person photo of the in with and",
    "full body upper body half body long hair short hair plain cluttered background",
    "malformed undressed extra missing arms legs limbs hands blurry",
)


def _all_merges() -> list[tuple[str, str]]:
    path = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    pairs = (line.split() for line in lines[1 : 49152 - 256 - 2 + 1])
    return [(first, second) for first, second in pairs]


def _byte_letters() -> list[str]:
    """CLIP's printable stand-ins for the 256 bytes, in its order (Radford et al. 2019, GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(b) for b in plain] + [chr(256 + n) for n in range(len(others))]


def _merges_used(words: Iterable[str], rank: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
    used: set[tuple[str, str]] = set()
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            pairs = list(itertools.pairwise(pieces))
            best = min(pairs, key=lambda pair: rank.get(pair, len(rank)))
            if best not in rank:
                break
            used.add(best)
            at = pairs.index(best)
            pieces[at : at + 2] = ["".join(best)]
    return used


def new_tokenizer() -> CLIPTokenizer:
    """Build the tokenizer; the same packages give the same ids."""
    merges = _all_merges()
    rank = {pair: index for index, pair in enumerate(merges)}
    text = " ".join(_SPOKEN).lower().replace("-", " ").replace("_", " ")
    words = {part for word in text.split() for part in (word, word.lstrip("0123456789")) if part}
    kept = sorted(_merges_used(words, rank), key=rank.__getitem__)
    letters = _byte_letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(m) for m in kept)]
    vocabulary = {token: index for index, token in enumerate([*tokens, _START, _END])}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=kept,
        unk_token=_END,
        bos_token=_START,
        eos_token=_END,
        pad_token=_END,
        model_max_length=77,
    )
