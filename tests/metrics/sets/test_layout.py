from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from metrics.contract import ScoredSample
from metrics.sets.layout import layout, vector

Figures = Callable[..., list[ScoredSample]]


@pytest.fixture(scope="module")
def full(figures: Figures) -> list[ScoredSample]:
    return figures(1, framing="full")


@pytest.fixture(scope="module")
def half(figures: Figures) -> list[ScoredSample]:
    return figures(2, framing="half")


@pytest.fixture(scope="module")
def reference(figures: Figures) -> list[ScoredSample]:
    return figures(3, framing="half")


def without_figure(one: ScoredSample) -> ScoredSample:
    assert one.features is not None
    return replace(one, features=replace(one.features, box=None, joints=None, framing="none"))


def test_figures_that_stand_as_the_references_do_are_above_those_that_do_not(
    full: list[ScoredSample], half: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    mixed = [h if cell % 2 else f for cell, (f, h) in enumerate(zip(full, half, strict=True))]
    values = [layout(suite, full, reference) for suite in (full, mixed, half)]
    base, middle, best = (one.value for one in values)
    assert base is not None
    assert middle is not None
    assert best is not None
    assert base == 0.0
    assert 0.2 < middle < 0.9
    assert best > 0.9
    for one in values:
        assert one.low is not None
        assert one.value is not None
        assert one.high is not None
        assert 0.0 <= one.low <= one.value <= one.high <= 1.0
    assert values[1].low < best  # type: ignore[operator]
    assert 0.05 < values[1].high - values[1].low < 0.9  # type: ignore[operator]


def test_the_reference_against_itself_is_one(
    full: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    halves = [*reference[::2], *reference[1::2]]
    again = [replace(h, sample=f.sample) for h, f in zip(halves[:6], full[:6], strict=True)]
    found = layout(again, full[:6], halves[6:])
    assert found.value is not None
    assert found.value > 0.95


def test_a_figure_moved_in_the_frame_is_farther_from_the_reference(
    full: list[ScoredSample], half: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    def moved(one: ScoredSample) -> ScoredSample:
        features = one.features
        assert features is not None
        assert features.box is not None
        assert features.joints is not None
        across = np.array([0.25, 0.0], np.float16)
        box = features.box + np.tile(across, 2)
        return replace(one, features=replace(features, box=box, joints=features.joints + across))

    aside = layout([moved(one) for one in half], full, reference)
    there = layout(half, full, reference)
    assert aside.value is not None
    assert there.value is not None
    assert aside.value < there.value - 0.02


def test_pictures_without_figures_gain_nothing(
    full: list[ScoredSample], half: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    none = layout([without_figure(one) for one in half], full, reference)
    assert (none.value, none.low, none.n, none.total) == (0.0, 0.0, 0, 12)
    some = [without_figure(one) if cell >= 6 else one for cell, one in enumerate(half)]
    found, whole = layout(some, full, reference), layout(half, full, reference)
    assert found.n == 6
    assert found.value == pytest.approx(0.5 * float(whole.value or 0), abs=0.05)


def test_nothing_is_measured_where_there_is_no_way_to_go(
    full: list[ScoredSample], half: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    same = layout(full, half, reference)
    assert same.value is None
    assert same.note == "the base stands as the reference does already"
    few = layout(half, full, reference[:4])
    assert (few.value, few.note) == (None, "4 figures can be read in the reference, needed 5")
    lost = layout(half, [without_figure(one) for one in full], reference)
    assert lost.note == "0 of the base's figures can be read, needed 5"
    empty = layout([], [], reference)
    assert (empty.value, empty.note) == (None, "every prompt asks for a framing")


def test_prompts_that_ask_for_a_framing_are_left_out(
    full: list[ScoredSample], half: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    def asking(one: ScoredSample) -> ScoredSample:
        prompt = replace(one.sample.prompt, framing="full")
        return replace(one, sample=replace(one.sample, prompt=prompt))

    # The last prompt asks for full bodies and gets them: no fault against the reference.
    obedient = [*half[:8], *map(asking, full[8:])]
    base = [*full[:8], *map(asking, full[8:])]
    found = layout(obedient, base, reference)
    assert (found.n, found.total) == (8, 8)
    assert found.value is not None
    assert found.value > 0.9


def test_a_suite_that_is_not_the_bases_is_refused(
    full: list[ScoredSample], half: list[ScoredSample], reference: list[ScoredSample]
) -> None:
    with pytest.raises(ValueError, match="same prompts and seeds"):
        layout(half[1:], full[:-1], reference)


def test_joints_that_the_frame_cannot_show_lie_on_its_lower_edge(half: list[ScoredSample]) -> None:
    values = vector(half[0])
    assert values is not None
    joints = values[5:].reshape(13, 2) * np.sqrt(13)
    assert joints[[8, 9, 11, 12], 1] == pytest.approx(1.0)  # knees and ankles
    assert joints.min() >= 0.0
    assert joints.max() <= 1.0
    assert vector(without_figure(half[0])) is None
