"""Parameters of the search space: a fixed value, one of several, or a range.

Plain data; `tuner.space.grammar` reads them from a file, `tuner.study.samplers` draws their values.
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

_MOST_SHOWN = 20
_LARGEST_WHOLE = 2**53
MOST_POINTS = 10**12
"""Values of a range with steps; Optuna's estimators divide by zero from about 10^15 on."""


def describe(parameter: Parameter) -> str:
    """Return the values that `parameter` may take, in words for an error line."""
    match parameter:
        case Fixed(value):
            return f"{show(value)} (fixed)"
        case Choices(choices):
            shown = [show(choice) for choice in choices]
            if len(shown) > _MOST_SHOWN:
                shown[_MOST_SHOWN - 2 : -1] = ["..."]
            return "one of " + ", ".join(shown)
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


def grid_size(parameter: Parameter) -> int | None:
    """Count the values that `parameter` may take; None for a range without steps."""
    match parameter:
        case Fixed():
            return 1
        case Choices(choices):
            return len(choices)
        case IntRange(low, high, _, step):
            return (high - low) // step + 1
        case FloatRange(low, high, _, step):
            return None if step is None else round((high - low) / step) + 1


def grid_point(parameter: Parameter, index: int) -> Value:
    """Return the value number `index` of those that `grid_size` counts.

    The values of a range are never listed: it may have more of them than fit into memory.
    """
    match parameter:
        case Fixed(value):
            return value
        case Choices(choices):
            return choices[index]
        case IntRange(low, _, _, step):
            return low + index * step
        case FloatRange(low, high, _, step):
            whole = 0.0 if step is None else step
            return high if index + 1 == grid_size(parameter) else low + index * whole


def exceeds_numbers(parameter: FloatRange | IntRange) -> str | None:
    """Return what is allowed if a range has whole numbers or steps beyond the precision of floats.

    Optuna stores every number as a float of 64 bits.
    """
    low, high, step = parameter.low, parameter.high, parameter.step
    if isinstance(parameter, IntRange) and high > _LARGEST_WHOLE:
        return f"at most {_LARGEST_WHOLE} (2^53) as the end of a range"
    if (size := grid_size(parameter)) is not None and size > MOST_POINTS:
        return f"at most {MOST_POINTS} (10^12) values in a range: a shorter one, or a larger step"
    if step is not None and (low + step == low or high - step == high):
        return "a step that changes the number it is added to"
    return None


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
    return math.isfinite(steps) and math.isclose(steps, round(steps), abs_tol=1e-8)
