from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metrics.contract import Features, Image, Prompt, Sample, ScoredSample
from metrics.sets.effect import NOISE, NOTHING, effect
from metrics.sets.features import thumbnail
from tuner.mannequin import draw
from tuner.mannequin.render import random_figure


def suite(images: list[Image]) -> list[ScoredSample]:
    """The pictures as four seeds of each prompt, with what effect looks at."""
    return [
        ScoredSample(
            Sample(Prompt(f"1girl, word {cell // 4}", "female"), cell % 4, image),
            {},
            Features("none", thumbnail(image)),
        )
        for cell, image in enumerate(images)
    ]


def images(seed: int, **changed: object) -> list[Image]:
    rng = np.random.default_rng(seed)
    drawn = [random_figure(rng, framing="full", top="shirt") for _ in range(24)]
    return [draw(replace(one, **changed)) for one in drawn]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def base() -> list[ScoredSample]:
    return suite(images(31))


def test_no_change_does_nothing(base: list[ScoredSample]) -> None:
    same = effect(base, base)
    assert (same.value, same.low, same.high, same.note) == (0.0, 0.0, 0.0, NOTHING)
    rng = np.random.default_rng(0)
    rounded = [
        np.clip(one.astype(int) + rng.integers(-1, 2, one.shape), 0, 255).astype(np.uint8)
        for one in images(31)
    ]
    found = effect(suite(rounded), base)
    assert found.value is not None
    assert 0.0 < found.value < NOISE
    assert found.note == NOTHING


def test_more_change_is_more_effect_and_other_seeds_are_about_one(base: list[ScoredSample]) -> None:
    undressed = effect(suite(images(31, clothed=False)), base)
    others = effect(suite(images(32)), base)
    for found in (undressed, others):
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert NOISE < found.low < found.value < found.high
        assert found.note is None
    assert undressed.value is not None
    assert others.value is not None
    assert undressed.value < others.value
    assert others.value == pytest.approx(1.0, abs=0.15)


def test_a_change_of_one_picture_in_many_shows(base: list[ScoredSample]) -> None:
    one = [
        replace(item, features=base[-1].features) if c == 0 else item for c, item in enumerate(base)
    ]
    found = effect(one, base)
    assert found.value is not None
    assert found.value > NOISE


def test_nothing_is_measured_of_nothing(base: list[ScoredSample]) -> None:
    assert effect([], []).note == "no sample that the base has too"
    blind = [replace(one, features=None) for one in base]
    assert effect(base, blind).value is None
    flat = [replace(one, features=base[0].features) for one in base]
    assert effect(base, flat).note == "the base draws the same picture for every seed"
    assert effect(base[:1], base[:1]).value is None
