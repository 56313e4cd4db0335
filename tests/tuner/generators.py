"""Read generators that return a value after what they yield."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def result_of(steps: Generator[Item, None, Result]) -> Result:
    """Run `steps` to the end and return its value."""
    return yielded_and_result(steps)[1]


def yielded_and_result(steps: Generator[Item, None, Result]) -> tuple[list[Item], Result]:
    """Run `steps` to the end; return what it yielded, and its value."""
    yielded = []
    while True:
        try:
            yielded.append(next(steps))
        except StopIteration as stop:
            return yielded, stop.value
