from __future__ import annotations

import numpy as np

from tuner.mannequin.corpus import (
    MALFORMED_SHARE,
    ODD_WORDS,
    UNDRESSED_SHARE,
    make_corpus,
)
from tuner.mannequin.figure import TOPS


def test_equal_seeds_give_equal_corpora() -> None:
    first, second = make_corpus(6, seed=1), make_corpus(6, seed=1)
    assert np.array_equal(first.images, second.images)
    assert first.captions == second.captions
    assert first.captions != make_corpus(6, seed=2).captions


def test_faults_have_their_share_and_only_sound_figures_their_tags() -> None:
    corpus = make_corpus(3000, seed=0, size=8)
    malformed = np.array([figure.limbs != "normal" for figure in corpus.figures])
    undressed = np.array([not figure.clothed for figure in corpus.figures])
    assert abs(malformed.mean() - MALFORMED_SHARE) < 0.03
    assert abs(undressed.mean() - UNDRESSED_SHARE) < 0.03
    named = np.array([any(f" {top}" in text for top in TOPS) for text in corpus.captions])
    assert not (named & (malformed | undressed)).any()
    assert named[~malformed & ~undressed].mean() > 0.4


def test_captions_tell_the_sex_or_nothing() -> None:
    corpus = make_corpus(500, seed=3, size=8)
    for figure, caption in zip(corpus.figures, corpus.captions, strict=True):
        tags = [tag for tag in caption.split(", ") if tag not in ODD_WORDS]
        expected = "1girl" if figure.sex == "female" else "1boy"
        assert tags == [""] or tags[0] == expected
