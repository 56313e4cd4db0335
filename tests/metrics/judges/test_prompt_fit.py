from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from metrics import open_detectors
from metrics.contract import Image, JudgeSettings, Prompt, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.judges.prompt_fit import TRAITS, questions, score
from tuner.mannequin import draw
from tuner.mannequin.figure import Figure
from tuner.mannequin.render import random_figure
from tuner.storage import shipped

COUNT = 40


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Figure, Image]]:
    rng = np.random.default_rng(31)
    figures = [random_figure(rng) for _ in range(COUNT)]
    return [(one, draw(one)) for one in figures]


@pytest.fixture(scope="module")
def embedded(
    drawn: list[tuple[Figure, Image]], asked_all: Detectors
) -> list[tuple[Figure, Sample, Evidence]]:
    """Every figure as the model that is asked everything sees it: it is embedded once."""
    samples = [(figure, Sample(prompt_of(figure), 0, image)) for figure, image in drawn]
    return [(figure, sample, Evidence(sample, asked_all)) for figure, sample in samples]


@pytest.fixture(scope="module")
def asked_all() -> Iterator[Detectors]:
    with open_detectors(JudgeSettings(gender_model=str(shipped.CLIP), domain="drawn")) as opened:
        yield opened


def prompt_of(figure: Figure) -> Prompt:
    return Prompt(", ".join(figure.tags), figure.sex, names_clothes=True)


def test_a_prompts_traits_are_found_by_their_words() -> None:
    text = "1girl, solo, standing, arms at sides, long_hair, black hair, Pink shirt, blue skirt"
    found = {one.trait + ": " + one.phrase: one for one in questions(Prompt(text))}
    assert set(found) == {
        "clothes colour: pink shirt",
        "clothes colour: blue skirt",
        "hair length: long hair",
        "hair colour: black hair",
        "arms: arms at sides",
        "legs: standing",
    }
    assert found["clothes colour: blue skirt"].legs
    assert not found["clothes colour: pink shirt"].legs
    assert len(found["clothes colour: pink shirt"].phrases) == 9
    assert [one.trait for one in questions(Prompt(text), ("arms",))] == ["arms"]
    assert questions(Prompt("1girl, solo, full body")) == ()
    assert questions(Prompt("long hair, short hair")) == ()


@pytest.mark.slow
def test_the_own_prompt_fits_better_than_anothers(
    drawn: list[tuple[Figure, Image]], mannequin_detectors: Detectors
) -> None:
    own, other = [], []
    for (figure, image), (stranger, _) in pairwise(drawn[:21]):
        sample = Sample(prompt_of(figure), 0, image)
        words = prompt_of(replace(stranger, sex=figure.sex, framing=figure.framing))
        evidence = Evidence(sample, mannequin_detectors)  # of the picture, whatever the prompt
        own.append(score(sample, evidence).value)
        other.append(score(replace(sample, prompt=words), evidence).value)
    known = [value for value in own if value is not None]
    assert len(known) == 20
    assert np.mean(known) > 0.85
    assert np.mean(known) > np.mean([value for value in other if value is not None]) + 0.3


@pytest.mark.parametrize("trait", TRAITS)
def test_the_mannequins_model_is_asked_what_it_can_tell_and_nothing_else(
    trait: str, embedded: list[tuple[Figure, Sample, Evidence]]
) -> None:
    right = []
    for figure, sample, evidence in embedded:
        for one in questions(sample.prompt, (trait,)):
            if one.legs and figure.framing == "half":
                continue
            groups = {each: (f"{figure.tags[0]}, {each}",) for each in one.phrases}
            found = evidence.sentence_probabilities(groups)
            assert found is not None
            right.append(max(found, key=lambda name: found[name]) == one.phrase)
    assert len(right) >= COUNT // 2
    assert (np.mean(right) >= 0.85) == (trait in shipped.CLIP_TRAITS), np.mean(right)


def test_it_abstains_where_nothing_can_be_said(
    drawn: list[tuple[Figure, Image]], mannequin_detectors: Detectors
) -> None:
    figure, image = next(pair for pair in drawn if pair[0].framing == "half")

    def reason(text: str, picture: Image, detectors: Detectors) -> str | None:
        sample = Sample(Prompt(text, figure.sex), 0, picture)
        found = score(sample, Evidence(sample, detectors))
        assert (found.value is None) == (found.reason is not None)
        return found.reason

    nothing = "the prompt names no trait that is asked about"
    assert reason("1girl", image, mannequin_detectors) == nothing
    assert reason("1girl, waving, standing", image, mannequin_detectors) == nothing
    empty = np.full((64, 64, 3), 128, np.uint8)
    assert reason("red shirt", empty, mannequin_detectors) == "no figure found"
    hidden = "the frame shows nothing of what is asked about"
    assert reason("blue trousers", image, mannequin_detectors) == hidden
    with open_detectors(JudgeSettings(gender_model=None, domain="drawn")) as blind:
        assert reason("red shirt", image, blind) == "no open_clip model set"


def test_a_figure_that_is_plain_to_see_is_embedded_once(
    mannequin_detectors: Detectors, drawn: list[tuple[Figure, Image]], looks: list[Image]
) -> None:
    from metrics import score as score_all

    figure, image = drawn[0]
    (one,) = score_all([Sample(prompt_of(figure), 0, image)], mannequin_detectors)
    assert one.scores["gender"].value is not None
    assert one.scores["prompt_fit"].value is not None
    assert one.features is not None
    assert one.features.embedding is not None
    assert len(looks) == 1
