"""What a parameter may take, and how values are written into error lines."""

from __future__ import annotations

import pytest

from tuner.space.parameters import (
    Choices,
    Fixed,
    FloatRange,
    IntRange,
    Parameter,
    Value,
    contains,
    describe,
    extremes,
    grid_point,
    grid_size,
)
from tuner.text import printable, show


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        (Fixed(8), (8,), (8.0, 9, "8", True, None)),
        (Choices((None, "a", 1)), (None, "a", 1), ("b", 1.0, True, 0)),
        (IntRange(2, 8), (2, 5, 8), (1, 9, 5.0, True, None, "5")),
        (IntRange(1, 9, step=4), (1, 5, 9), (2, 4)),
        (FloatRange(0.1, 0.5), (0.1, 0.3, 0.5), (0.0, 0.51, True, None, "0.3", float("nan"))),
        (FloatRange(0.1, 0.7, step=0.1), (0.1, 0.3, 0.7), (0.35,)),
        (FloatRange(0.0, 2.0), (0, 1, 2), (3,)),
    ],
)
def test_contains(
    parameter: Parameter, inside: tuple[Value, ...], outside: tuple[Value, ...]
) -> None:
    assert all(contains(parameter, value) for value in inside)
    assert not any(contains(parameter, value) for value in outside)


def test_every_parameter_is_described_in_words() -> None:
    assert describe(Fixed(None)) == "null (fixed)"
    assert describe(Choices(("a", 2, True))) == "one of 'a', 2, true"
    assert describe(IntRange(1, 9, step=4)) == "a whole number from 1 to 9 in steps of 4"
    assert describe(FloatRange(1e-4, 0.5)) == "a number from 0.0001 to 0.5"


def test_extremes() -> None:
    assert extremes(Choices((3, 1))) == (3, 1)
    assert extremes(IntRange(1, 9)) == (1, 9)
    assert extremes(Fixed(None)) == (None,)


def test_values_are_shown_as_a_file_writes_them() -> None:
    assert show({"a": [1, None, True, "x"]}) == "{a: [1, null, true, 'x']}"
    assert show("two\nlines") == "'two lines'"
    assert len(show("x" * 500)) == 80
    assert printable("写\u3000真\xa0\u200d") == "写\u3000真\xa0\u200d"
    assert show("a\x1b[1m\udcff\u202e") == r"'a\x1b[1m\udcff\u202e'"


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (Fixed(8), [8]),
        (Choices((None, "a", 1)), [None, "a", 1]),
        (IntRange(1, 9, step=4), [1, 5, 9]),
        (FloatRange(0.1, 0.7, step=0.2), [0.1, 0.1 + 0.2, 0.1 + 0.4, 0.7]),
    ],
)
def test_the_values_of_a_grid(parameter: Parameter, values: list[Value]) -> None:
    assert [grid_point(parameter, n) for n in range(grid_size(parameter) or 0)] == values


def test_a_range_without_steps_has_no_grid() -> None:
    assert grid_size(FloatRange(0.0, 1.0)) is None


def test_long_ranges_are_never_listed() -> None:
    long = IntRange(0, 10**18)
    assert grid_size(long) == 10**18 + 1
    assert grid_point(long, 10**17) == 10**17
    fine = FloatRange(0.0, 1.0, step=1e-12)
    assert grid_size(fine) == 10**12 + 1
    assert grid_point(fine, 10**12) == 1.0


def test_long_lists_are_cut_in_error_lines() -> None:
    text = describe(Choices(tuple(range(5000))))
    assert text.endswith("17, ..., 4999")
