"""Show what the workers of a running study do, again and again, until Ctrl-C.

Only files of the study are read; the study runs in another process, or not at all.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from tuner.errors import Terminated
from tuner.events import COUNTED
from tuner.results.running import IDLE, STARTING, Running, WorkerState, read_running, seconds_since
from tuner.storage import Store, StudyFolder
from tuner.storage.lock import runner
from tuner.storage.rows import RunRow, StudyRow
from tuner.terminal import console
from tuner.text import counted, duration

_EVERY = 1.0
_LINES_EVERY = 30.0
"""Seconds between two looks at the study, on a terminal and without one."""

_DOING = {
    "load": "loading",
    "judges": "judging the training pictures",
    "base": "sampling the base",
    "train": "training",
    "sample": "sampling",
    "score": "scoring",
    IDLE: "idle",
    STARTING: "starting",
}


@dataclass(frozen=True)
class Progress:
    """A study at one moment: the states of its trials, its runs, and what its workers do.

    `trial_seconds` is the median of the trials that were finished, None before the first;
    `process` the number of the process that runs the study, None without one.
    """

    study: StudyRow
    states: dict[int, str]
    runs: list[RunRow]
    trial_seconds: float | None
    process: int | None
    running: Running | None

    @property
    def finished(self) -> int:
        """Number of trials that count towards the budget."""
        return sum(state in COUNTED for state in self.states.values())


def watch(folder: StudyFolder, plain: bool = False, looks: int | None = None) -> None:
    """Show the study in `folder` until Ctrl-C, or `looks` times, on a terminal in one place.

    Lines are printed with `plain`, if stdout is not a terminal, and with NO_COLOR or TERM=dumb.
    """
    terminal, times = console(), itertools.count() if looks is None else range(looks)
    lines = plain or not terminal.is_terminal or "NO_COLOR" in os.environ
    try:
        if lines or terminal.is_dumb_terminal:
            for _ in _paced(times, _LINES_EVERY):
                terminal.print(view(read_progress(folder), plain=True))
            return
        with Live(console=terminal, auto_refresh=False) as live:
            for _ in _paced(times, _EVERY):
                live.update(view(read_progress(folder)), refresh=True)
    except KeyboardInterrupt as error:
        if isinstance(error, Terminated):
            raise


def _paced(times: Iterator[int] | range, seconds: float) -> Iterator[int]:
    for number in times:
        if number:
            time.sleep(seconds)
        yield number


def read_progress(folder: StudyFolder) -> Progress:
    """Read the few rows and the file that tell how far the study in `folder` is."""
    with Store(folder.results_db, read_only=True) as store:
        study, trials, runs = store.study(), store.trials(), store.runs()
    assert study is not None  # an existing study
    seconds = [trial.seconds for trial in trials if trial.state in COUNTED and trial.seconds]
    median = statistics.median(seconds) if seconds else None
    owner = runner(folder.lock)
    states = {trial.number: trial.state for trial in trials}
    process = owner["pid"] if owner else None
    return Progress(study, states, runs, median, process, read_running(folder))


def view(now: Progress, plain: bool = False) -> RenderableType:
    """Return the lines about the study, and the table of its workers if it is running."""
    lines = "\n".join((_trials_line(now), _time_line(now)))
    if now.running is None:
        return lines
    return Group(lines, workers_table(now.running, plain))


def workers_table(running: Running, plain: bool = False) -> Table:
    """Return a row for each worker: where it runs, what it does, since when, its idle share."""
    title = f"{counted(len(running.workers), 'worker')}, idle for {running.idle:.1%} of their time"
    table = Table(title=title, title_justify="left", box=None if plain else box.SIMPLE_HEAD)
    table.add_column("worker", justify="right")
    for name in ("node", "doing", "trial", "done", "since", "idle"):
        table.add_column(name)
    for worker in running.workers:
        share = worker.idle_seconds / worker.known_seconds if worker.known_seconds else 0.0
        table.add_row(
            str(worker.place),
            worker.node or "-",
            _DOING.get(worker.doing, worker.doing),
            _trial(worker),
            "" if worker.step is None else f"{worker.step}/{worker.of}",
            duration(seconds_since(worker.since)),
            f"{share:.1%}",
        )
    return table


def _trial(worker: WorkerState) -> str:
    if worker.trial is None:
        return ""
    again = f", training {worker.repeat}" if worker.repeat else ""
    return f"{worker.trial}{again}"


def _trials_line(now: Progress) -> str:
    running = now.running.trials if now.running else 0
    if now.process is not None:
        state = f"{running} running (process {now.process})"
    elif now.finished >= now.study.budget or (now.runs and now.runs[-1].ended):
        state = "finished"
    else:
        state = "not running"
    return f"{now.study.name}: {now.finished} of {counted(now.study.budget, 'trial')} done, {state}"


def _time_line(now: Progress) -> str:
    """Return the time that was spent, the budget's hours that are left, and what trials need."""
    study = now.study
    spent, busy = sum(run.seconds for run in now.runs), sum(run.busy for run in now.runs)
    parts = [f"time: {_of_hours(spent, study.hours)}"]
    parts.append(f"of workers at work: {_of_hours(busy, study.gpu_hours)}")
    left = now.study.budget - now.finished
    if now.running and now.trial_seconds and left > 0:
        at_once = max(1, len(now.running.workers))
        parts.append(f"about {duration(now.trial_seconds * left / at_once)} left for the trials")
    return "; ".join(parts)


def _of_hours(seconds: float, limit: float | None) -> str:
    if limit is None:
        return duration(seconds)
    return f"{duration(seconds)}, {duration(max(0.0, limit * 3600 - seconds))} left of {limit:g} h"
