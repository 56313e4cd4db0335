from __future__ import annotations

import numpy as np
import pytest

from tuner.mannequin.corpus import EVERY_POSE, ODD_WORDS, WEB, Mixture, make_corpus
from tuner.mannequin.figure import ARM_POSES, COMMON_ARM_POSES, TOPS


def test_equal_seeds_give_equal_corpora() -> None:
    first, second = make_corpus(6, seed=1), make_corpus(6, seed=1)
    assert np.array_equal(first.images, second.images)
    assert first.captions == second.captions
    assert first.captions != make_corpus(6, seed=2).captions


@pytest.mark.parametrize("mixture", [WEB, pytest.param(EVERY_POSE, marks=pytest.mark.slow)])
def test_faults_have_their_share_and_only_sound_figures_their_tags(mixture: Mixture) -> None:
    corpus = make_corpus(1200, 0, mixture, size=8)
    malformed = np.array([figure.limbs != "normal" for figure in corpus.figures])
    undressed = np.array([not figure.clothed for figure in corpus.figures])
    assert abs(malformed.mean() - mixture.malformed) < 0.04
    assert abs(undressed.mean() - mixture.undressed) < 0.04
    named = np.array([any(f" {top}" in text for top in TOPS) for text in corpus.captions])
    assert not (named & (malformed | undressed)).any()
    assert named[~malformed & ~undressed].mean() > 0.4


def test_captions_name_the_sex_or_nothing() -> None:
    corpus = make_corpus(500, seed=3, size=8)
    for figure, caption in zip(corpus.figures, corpus.captions, strict=True):
        tags = [tag for tag in caption.split(", ") if tag not in ODD_WORDS]
        expected = "1girl" if figure.sex == "female" else "1boy"
        assert tags == [""] or tags[0] == expected


def test_the_web_shows_the_common_poses_and_the_other_mixture_all() -> None:
    web, every = (make_corpus(400, 1, mixture, size=8).figures for mixture in (WEB, EVERY_POSE))
    assert {figure.arm_pose for figure in web} == set(COMMON_ARM_POSES)
    assert {figure.arm_pose for figure in every} == set(ARM_POSES)
    at_sides = np.mean([figure.arm_pose == "arms at sides" for figure in web])
    assert abs(at_sides - COMMON_ARM_POSES["arms at sides"]) < 0.1
