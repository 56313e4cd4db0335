"""Logs of a running study for other programs: a run for each trial, and one for the base.

A log follows the events of the study and passes them on. Workers write none.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Protocol

import PIL.Image

from metrics.contract import Measure, Objective
from tuner.errors import TunerError
from tuner.events import Event, Progress, RungScored, TrialEnded, TrialStarted, TrialState, Warned

MOST_SIDE = 1600
"""Longest side of a logged grid in pixels: 13 prompts have 120 each, and a log of 100 rungs stays
below 100 MB."""


class Run(Protocol):
    """An open run of one trial in a log. Steps are optimizer steps and never go down."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by name."""

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """Write the grid of a rung."""

    def close(self, state: TrialState, reason: str | None) -> None:
        """Write how the trial ended, and close the run."""


Begin = Callable[[int | None, Mapping[str, object]], Run | None]
"""Opens the run of a trial (None: the base) with its parameters; None if it is written already."""


def logged(events: Generator[Event, None, None], begin: Begin) -> Generator[Event, None, None]:
    """Yield `events` and write them down, a run for each trial that begins.

    A trial whose run cannot be opened is not logged; a warning says so.
    """
    open_runs = OpenRuns(begin)
    # The study is closed first: what a log still has to send may take long.
    with contextlib.closing(open_runs), contextlib.closing(events):
        for event in events:
            try:
                open_runs.note(event)
            except TunerError as error:
                yield Warned(str(error))
            yield event


class OpenRuns:
    """The runs of a log that are open, by trial, with the steps and rungs that were written."""

    def __init__(self, begin: Begin) -> None:
        """Open no run yet; `begin` opens them."""
        self._begin = begin
        self._runs: dict[int | None, Run] = {}
        self._steps: dict[int | None, int] = {}
        self._rungs: set[tuple[int | None, int]] = set()

    def note(self, event: Event) -> None:
        """Write one event down. Raises TunerError if its run cannot be opened."""
        match event:
            case TrialStarted(trial, parameters):
                self._open(trial, parameters)
            case Progress(done=step, loss=float(), trial=trial) if trial in self._runs:
                # A trial that is tried again trains from the start, with the same seed.
                if step > self._steps.get(trial, 0):
                    self._steps[trial] = step
                    self._runs[trial].numbers(step, training_numbers(event))
            case RungScored(trial=None):
                self._open(None, {})
                self._scored(event)
                self._close(None, "complete")
            case RungScored():
                self._scored(event)
            case TrialEnded(trial, state, reason):
                self._close(trial, state, reason)

    def close(self) -> None:
        """Close the runs of the trials that did not end."""
        for trial in list(self._runs):
            self._close(trial, "interrupted")

    def _open(self, trial: int | None, parameters: Mapping[str, object]) -> None:
        run = self._begin(trial, parameters)
        if run is not None:
            self._runs[trial] = run

    def _scored(self, event: RungScored) -> None:
        run = self._runs.get(event.trial)
        rung = (event.trial, event.step)
        if run is None or rung in self._rungs:
            return
        self._rungs.add(rung)
        # A trial that is tried again comes to a rung after later steps were written.
        step = max(event.step, self._steps.get(event.trial, 0))
        run.numbers(step, rung_numbers(event))
        picture = grid_picture(event.grid)
        if picture is not None:
            run.picture(step, picture)

    def _close(self, trial: int | None, state: TrialState, reason: str | None = None) -> None:
        run = self._runs.pop(trial, None)
        if run is not None:
            run.close(state, reason)


def training_numbers(event: Progress) -> dict[str, float]:
    """Return the numbers of training by name: `train/loss`, ..."""
    numbers = {
        "train/loss": event.loss,
        "train/learning_rate": event.learning_rate,
        "train/steps_per_second": event.per_second,
    }
    return {name: value for name, value in numbers.items() if value is not None}


def rung_numbers(event: RungScored) -> dict[str, float]:
    """Return the numbers of a rung by name: `objectives/pose`, `intervals/pose_low`, ..."""
    kinds: Mapping[str, Mapping[str, Objective | Measure]] = {
        "objectives": event.objectives,
        "rates": event.rates,
        "measures": event.measures,
    }
    numbers: dict[str, float | None] = {}
    for kind, measured in kinds.items():
        for name, number in measured.items():
            numbers[f"{kind}/{name}"] = number.value
            if kind != "measures":
                numbers[f"intervals/{name}_low"] = number.low
                numbers[f"intervals/{name}_high"] = number.high
    known = {name: value for name, value in numbers.items() if value is not None}
    return {name: float(value) for name, value in known.items() if math.isfinite(value)}


def grid_picture(path: Path) -> PIL.Image.Image | None:
    """Return the grid of a rung with sides of at most MOST_SIDE pixels; None if it is gone."""
    try:
        with PIL.Image.open(path) as grid:
            picture = grid.convert("RGB")
    except OSError:
        return None
    picture.thumbnail((MOST_SIDE, MOST_SIDE))
    return picture


def run_name(trial: int | None) -> str:
    """Return the name of a trial's run: `trial_0003`, or `base`."""
    return "base" if trial is None else f"trial_{trial:04d}"


def parameter_values(parameters: Mapping[str, object]) -> dict[str, bool | float | str]:
    """Return parameters in the types that logs know: others than numbers as text."""
    return {
        name: value if isinstance(value, bool | int | float) else str(value)
        for name, value in parameters.items()
    }
