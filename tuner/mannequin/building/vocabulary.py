"""The mannequin's tokenizer: CLIP's byte-pair merges, cut to the words of the captions.

All 512 byte tokens stay, so every text can be encoded; only rare words fall into more pieces.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from transformers import CLIPTokenizer

from tuner.mannequin.corpus import ODD_WORDS
from tuner.mannequin.figure import ARM_POSES, BOTTOMS, CLOTH_COLOURS, HAIR_COLOURS, LEG_POSES, TOPS
from tuner.models.clip_tokenizer import Merge, all_merges, clip_tokenizer

_WORDS = (
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


def _merges_used(words: Iterable[str], rank: dict[Merge, int]) -> set[Merge]:
    used: set[Merge] = set()
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
    rank = {pair: index for index, pair in enumerate(all_merges())}
    text = " ".join(_WORDS).lower().replace("-", " ").replace("_", " ")
    words = {part for word in text.split() for part in (word, word.lstrip("0123456789")) if part}
    kept = sorted(_merges_used(words, rank), key=rank.__getitem__)
    return clip_tokenizer(kept)
