"""Read generators: those that return a value after what they yield, and batches of samples."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

from metrics.contract import Sample
from tuner.events import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def yielded_and_result(steps: Generator[Item, None, Result]) -> tuple[list[Item], Result]:
    """Run `steps` to the end; return what it yielded, and its value."""
    yielded = []
    while True:
        try:
            yielded.append(next(steps))
        except StopIteration as stop:
            return yielded, stop.value


def samples_of(batches: Iterable[tuple[list[Sample], Progress]]) -> list[Sample]:
    """Return all samples of `batches`, in order."""
    return [sample for batch, _ in batches for sample in batch]
