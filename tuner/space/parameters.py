"""Parameters of the search space: a fixed value, one of several, or a range.

Plain data; `tuner.space.grammar` reads them from a file, `tuner.study.suggest` draws their values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tuner.text import show

Value = str | int | float | bool | None
"""A value that YAML, JSON and Optuna all keep unchanged."""


@dataclass(frozen=True)
class Fixed:
    """One value, the same in every trial."""

    value: Value


When = tuple[tuple[str, tuple[Value, ...]], ...]
"""Other parameters, each with the values for which this one is used; empty: always."""


@dataclass(frozen=True)
class Prior:
    """The expected best place of a number: a normal distribution cut at the ends of its range.

    `width` is its standard deviation; in a range with `log` it is the factor of one deviation.
    """

    centre: float
    width: float


@dataclass(frozen=True)
class Choices:
    """One of several values that have no order."""

    choices: tuple[Value, ...]
    when: When = ()


@dataclass(frozen=True)
class FloatRange:
    """A real number from `low` to `high`, both included; uniform in the logarithm with `log`.

    With `step` only `low`, `low + step`, `low + 2 step`, ... are used.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    prior: Prior | None = None
    when: When = ()


@dataclass(frozen=True)
class IntRange:
    """A whole number from `low` to `high`, both included, in steps of `step`."""

    low: int
    high: int
    log: bool = False
    step: int = 1
    prior: Prior | None = None
    when: When = ()


Parameter = Fixed | Choices | FloatRange | IntRange


def describe(parameter: Parameter) -> str:
    """Return the values that `parameter` may take, in words for an error line."""
    match parameter:
        case Fixed(value):
            return f"{show(value)} (fixed)"
        case Choices(choices):
            return "one of " + ", ".join(show(choice) for choice in choices)
        case FloatRange(low, high, _, step):
            return f"a number from {low:g} to {high:g}" + (f" in steps of {step:g}" if step else "")
        case IntRange(low, high, _, step):
            steps = f" in steps of {step}" if step != 1 else ""
            return f"a whole number from {low} to {high}{steps}"


def contains(parameter: Parameter, value: Value) -> bool:
    """Return True if `parameter` may take `value`, type included."""
    match parameter:
        case Fixed(fixed):
            return same(fixed, value)
        case Choices(choices):
            return any(same(choice, value) for choice in choices)
        case IntRange(low, high, _, step):
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and low <= value <= high and (value - low) % step == 0  # type: ignore[operator]
        case FloatRange(low, high, _, step):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:  # type: ignore[operator]
                return False
            return step is None or on_grid(float(value) - low, step)  # type: ignore[arg-type]


def extremes(parameter: Parameter) -> tuple[Value, ...]:
    """Return all values of a fixed or listed parameter, or the two ends of a range."""
    match parameter:
        case Fixed(value):
            return (value,)
        case Choices(choices):
            return choices
        case FloatRange(low, high) | IntRange(low, high):
            return (low, high)


def grid_points(parameter: Parameter) -> tuple[Value, ...] | None:
    """Return every value that `parameter` may take; None for a range without steps."""
    match parameter:
        case Fixed(value):
            return (value,)
        case Choices(choices):
            return choices
        case IntRange(low, high, _, step):
            return tuple(range(low, high + 1, step))
        case FloatRange(low, high, _, step):
            if step is None:
                return None
            count = round((high - low) / step)
            return (*(low + index * step for index in range(count)), high)


def applies(parameter: Parameter, values: Mapping[str, Value]) -> bool:
    """Return True if a run with `values` uses `parameter`."""
    if isinstance(parameter, Fixed):
        return True
    return all(
        any(same(values[key], value) for value in allowed) for key, allowed in parameter.when
    )


def is_bound(parameter: Parameter) -> bool:
    """Return True if some runs do not use `parameter`."""
    return not isinstance(parameter, Fixed) and bool(parameter.when)


def same(left: Value, right: Value) -> bool:
    """Return True if the values are equal and of the same type: 1 is neither 1.0 nor true."""
    return type(left) is type(right) and left == right


def on_grid(distance: float, step: float) -> bool:
    """Return True if `distance` is a whole number of steps, except for rounding."""
    steps = distance / step
    return math.isclose(steps, round(steps), abs_tol=1e-8)
