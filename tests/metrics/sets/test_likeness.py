from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from metrics.contract import ScoredSample, Sex
from metrics.sets.likeness import likeness

Figures = Callable[..., list[ScoredSample]]
LOOK = {"sex": "female", "top": "dress", "top_colour": "red", "long_hair": True}


@pytest.fixture(scope="module")
def plain(figures: Figures) -> list[ScoredSample]:
    return figures(11, sex="female", top="shirt")


@pytest.fixture(scope="module")
def alike(figures: Figures) -> list[ScoredSample]:
    return figures(12, **LOOK)


@pytest.fixture(scope="module")
def reference(figures: Figures) -> list[ScoredSample]:
    return figures(13, **LOOK)


def of_sex(one: ScoredSample, sex: Sex | None) -> ScoredSample:
    return replace(one, sample=replace(one.sample, prompt=replace(one.sample.prompt, sex=sex)))


def test_the_references_look_is_above_a_mixture_and_the_base_is_zero(
    plain: list[ScoredSample], alike: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    mixed = [b if cell % 2 else a for cell, (a, b) in enumerate(zip(plain, alike, strict=True))]
    found = [likeness(suite, plain, reference) for suite in (plain, mixed, alike)]
    base, middle, best = (float(one.value or 0.0) for one in found)
    assert base == 0.0
    assert base + 0.2 < middle < best - 0.2
    assert best > 0.8
    for one in found:
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        assert 0.0 <= one.low <= one.value <= one.high <= 1.0


def test_prompts_for_a_sex_that_the_reference_lacks_are_not_asked_about(
    plain: list[ScoredSample], alike: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    men = [of_sex(one, "male") for one in plain[8:]]
    found = likeness([*alike[:8], *men], [*plain[:8], *men], reference)
    assert (found.n, found.total) == (8, 8)
    assert found.value is not None
    assert found.value > 0.8
    only_men = [of_sex(one, "male") for one in plain]
    none = likeness(only_men, only_men, reference)
    assert none.note == "too few figures of a sex asked for in the reference"


def test_a_reference_of_unknown_sex_serves_prompts_without_one(
    plain: list[ScoredSample], alike: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    suites = ([of_sex(one, None) for one in suite] for suite in (alike, plain, reference))
    found = likeness(*suites)
    assert found.value is not None
    assert found.value > 0.8
    assert found.total == 12


def test_nothing_is_measured_where_there_is_no_way_to_go(
    plain: list[ScoredSample], alike: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    assert likeness(plain, alike, reference).note == "the base looks like the reference already"
    few = likeness(alike, plain, reference[:4])
    assert few.note == "too few figures of a sex asked for in the reference"
    blind = [replace(one, features=None) for one in plain]
    assert likeness(alike, blind, reference).note is not None
    assert likeness([], [], reference).value is None
    nobody = likeness(blind, plain, reference)
    assert (nobody.value, nobody.n, nobody.total) == (0.0, 0, 12)
