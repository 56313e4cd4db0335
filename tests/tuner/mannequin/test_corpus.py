from __future__ import annotations

import numpy as np
import pytest

from tuner.mannequin.corpus import (
    EVERY_POSE,
    ODD_WORDS,
    WEB,
    Corpus,
    Mixture,
    captioned_figures,
    make_corpus,
)
from tuner.mannequin.figure import ARM_POSES, COMMON_ARM_POSES, TOPS


def test_equal_seeds_give_equal_corpora() -> None:
    first, second = make_corpus(6, seed=1), make_corpus(6, seed=1)
    assert np.array_equal(first.images, second.images)
    assert first.captions == second.captions
    assert first.captions != make_corpus(6, seed=2).captions


@pytest.fixture(scope="module", params=[WEB, EVERY_POSE], ids=["web", "every pose"])
def mixture(request: pytest.FixtureRequest) -> Mixture:
    return request.param


@pytest.fixture(scope="module")
def corpus(mixture: Mixture) -> Corpus:
    """Figures and captions; to draw them too would take seconds."""
    return Corpus(np.empty(0, np.uint8), *captioned_figures(600, 0, mixture))


def test_faults_have_their_share_and_only_sound_figures_their_tags(
    mixture: Mixture, corpus: Corpus
) -> None:
    malformed = np.array([figure.limbs != "normal" for figure in corpus.figures])
    undressed = np.array([not figure.clothed for figure in corpus.figures])
    assert abs(malformed.mean() - mixture.malformed) < 0.04
    assert abs(undressed.mean() - mixture.undressed) < 0.04
    named = np.array([any(f" {top}" in text for top in TOPS) for text in corpus.captions])
    assert not (named & (malformed | undressed)).any()
    assert named[~malformed & ~undressed].mean() > 0.4


def test_captions_name_the_sex_or_nothing(corpus: Corpus) -> None:
    for figure, caption in zip(corpus.figures, corpus.captions, strict=True):
        tags = [tag for tag in caption.split(", ") if tag not in ODD_WORDS]
        expected = "1girl" if figure.sex == "female" else "1boy"
        assert tags == [""] or tags[0] == expected


def test_the_web_shows_the_common_poses_and_the_other_mixture_all(
    mixture: Mixture, corpus: Corpus
) -> None:
    poses = [figure.arm_pose for figure in corpus.figures]
    assert set(poses) == set(COMMON_ARM_POSES if mixture == WEB else ARM_POSES)
    if mixture == WEB:
        at_sides = np.mean([pose == "arms at sides" for pose in poses])
        assert abs(at_sides - COMMON_ARM_POSES["arms at sides"]) < 0.1
