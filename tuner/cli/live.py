"""The view of a running study: a live panel on a terminal, single lines everywhere else.

It reads events and shows them on stderr; stdout is for results.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from metrics.contract import Objective
from metrics.pareto import pareto
from tuner.events import (
    COUNTED,
    Event,
    Phase,
    Progress,
    RepeatEnded,
    RepeatStarted,
    Retried,
    RungScored,
    TrialEnded,
    TrialStarted,
    Warned,
)
from tuner.results.results import Results, front
from tuner.text import duration, interval, words

_LINE_EVERY = 30.0
"""Seconds between two lines of progress where there is no terminal."""

_DOING = {
    "load": "loading the base and the judges",
    "base": "sampling the base",
    "train": "training",
    "sample": "sampling",
    "score": "scoring",
}

Points = dict[int, Mapping[str, Objective]]


@dataclass
class Doing:
    """How far a trial is; `last` are the objectives of its latest rung."""

    phase: str = ""
    progress: Progress | None = None
    last: Mapping[str, Objective] = field(default_factory=dict)


@dataclass
class View:
    """What the events have told so far; `finished` trials were done before this run began.

    `trial` is the one that was told of last, `now` has all that run, None for work before any.
    """

    study: str
    trials: int
    objectives: tuple[str, ...]
    finished: int = 0
    best: Points = field(default_factory=dict)
    trial: int | None = None
    now: dict[int | None, Doing] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    _ended: int = 0
    _began: float = field(default_factory=time.monotonic)

    def saw(self, event: Event) -> None:
        """Take one event in; what is worth a line is added to `lines`."""
        match event:
            case Phase(name, trial):
                doing = self._doing(trial)
                if trial is None and name != doing.phase:
                    self.lines.append(_DOING[name])
                doing.phase, doing.progress = name, None
                self.trial = trial
            case Progress():
                self.trial = self.trial if event.trial is None else event.trial
                self._doing(self.trial).progress = event
            case TrialStarted(trial, parameters):
                self._begun(trial)
                self.lines.append(f"trial {trial} ({self.place}): {words(parameters)}")
            case RungScored():
                self._scored(event)
            case TrialEnded():
                self._over(event)
            case RepeatStarted() | RepeatEnded():
                self._confirmed(event)
            case _:
                self.lines.append(_remark(event))

    @property
    def place(self) -> str:
        """Which of the study's trials this is, the latest of those that run: `3/12`."""
        running = max(1, len(self.now.keys() - {None}))
        return f"{min(self.finished + running, self.trials)}/{self.trials}"

    @property
    def front(self) -> list[int]:
        """The trials that no other complete one beats."""
        numbers = list(self.best)
        points = [[self.best[n][name].value for name in self.objectives] for n in numbers]
        return [numbers[index] for index in pareto(points)] if points else []

    @property
    def seconds_left(self) -> float | None:
        """What the trials to come will take if they go on as so far; None before the first."""
        if not self._ended:
            return None
        each = (time.monotonic() - self._began) / self._ended
        return each * max(0, self.trials - self.finished)

    def _scored(self, event: RungScored) -> None:
        numbers = self._numbers(event.objectives)
        if event.trial is None:
            # Loading the models is not part of what a trial takes.
            self._began = time.monotonic()
            self.lines.append(f"base: {numbers}")
            return
        self._doing(event.trial).last = event.objectives
        self.lines.append(f"trial {event.trial}, step {event.step}: {numbers}")

    def _doing(self, trial: int | None) -> Doing:
        return self.now.setdefault(trial, Doing())

    def _begun(self, trial: int | None) -> None:
        self.trial, self.now[trial] = trial, Doing()
        if trial is not None:
            self.now.pop(None, None)

    def _confirmed(self, event: RepeatStarted | RepeatEnded) -> None:
        if isinstance(event, RepeatStarted):
            self.now.clear()
            self._begun(event.trial)
            self.lines.append(f"confirming, {event.place}/{event.places}: {_lora(event)}")
        else:
            told = event.reason or self._numbers(event.objectives)
            self.lines.append(f"{_lora(event)}: {told}")

    def _numbers(self, found: Mapping[str, Objective]) -> str:
        names = [name for name in self.objectives if name in found]
        return ", ".join(f"{name} {interval(found[name])}" for name in names)

    def _over(self, event: TrialEnded) -> None:
        if event.state in COUNTED:
            self.finished += 1
            self._ended += 1
        ended = self.now.pop(event.trial, Doing())
        if event.state == "complete" and ended.last:
            self.best[event.trial] = ended.last
        reason = f" ({event.reason})" if event.reason else ""
        left = f", {duration(self.seconds_left)} left" if self.seconds_left else ""
        self.lines.append(f"trial {event.trial} {event.state}{reason}{left}")


def recall(view: View, results: Results) -> None:
    """Tell the view what earlier runs of the study found."""
    view.finished = results.finished
    view.best = {one.trial.number: one.rung.objectives for one in front(results)}


def show(view: View, events: Iterable[Event], plain: bool = False) -> None:
    """Follow `events` to their end, on a live panel or, without a terminal, line by line.

    Lines are used with `plain`, when stderr is no terminal, and with NO_COLOR or TERM=dumb.
    """
    console = Console(stderr=True, highlight=False)
    if plain or not console.is_terminal or "NO_COLOR" in os.environ or console.is_dumb_terminal:
        for line in plain_lines(view, events):
            print(line, file=sys.stderr, flush=True)
        return
    with Live(panel(view), console=console, refresh_per_second=4) as live:
        for event in events:
            view.saw(event)
            while view.lines:
                live.console.print(view.lines.pop(0))
            live.update(panel(view))


def plain_lines(
    view: View, events: Iterable[Event], now: Callable[[], float] = time.monotonic
) -> Iterator[str]:
    """One line for each thing that happened, and for progress every 30 seconds."""
    spoke = now()
    for event in events:
        view.saw(event)
        if isinstance(event, Progress) and now() - spoke >= _LINE_EVERY:
            doing = view.now[view.trial]
            view.lines.append(f"{_who(view.trial, doing)}, {_pace(doing)}")
        if view.lines:
            spoke = now()
        while view.lines:
            yield view.lines.pop(0)


def panel(view: View) -> RenderableType:
    """The state of the study as a few lines that are drawn over each other."""
    head = Text.assemble((view.study, "bold"), f"  trial {view.place}")
    bars = Table.grid(padding=(0, 1))
    for trial, doing in view.now.items():
        progress = doing.progress or Progress(0, 1, 0.0)
        bar = ProgressBar(progress.total, progress.done, width=30)
        bars.add_row(_who(trial, doing), bar, _pace(doing))
    left = duration(view.seconds_left) if view.seconds_left is not None else "not known yet"
    numbers = Table.grid(padding=(0, 2))
    numbers.add_row("", *view.objectives)
    for trial, doing in view.now.items():
        if doing.last:
            numbers.add_row(f"last rung: {trial}", *_row(doing.last, view.objectives))
    for number in view.front[:5]:
        numbers.add_row(f"best: {number}", *_row(view.best[number], view.objectives))
    return Group(head, bars, numbers, Text(f"time left: {left}", style="dim"))


def _remark(event: Retried | Warned) -> str:
    if isinstance(event, Warned):
        return f"warning: {event.text}"
    return event.reason if event.trial is None else f"trial {event.trial}: {event.reason}"


def _lora(event: RepeatStarted | RepeatEnded) -> str:
    if event.trial is None:
        return "the base on fresh noise"
    again = f", trained again with another seed ({event.repeat})" if event.repeat else ""
    return f"trial {event.trial}, step {event.step} on fresh noise{again}"


def _who(trial: int | None, doing: Doing) -> str:
    told = _DOING.get(doing.phase, "starting")
    return told if trial is None else f"trial {trial}, {told}"


def _pace(doing: Doing) -> str:
    if doing.progress is None:
        return ""
    unit = "steps" if doing.phase == "train" else "samples"
    seen = doing.progress
    text = f"{seen.done}/{seen.total} {unit}, {seen.per_second:.1f} a s"
    return text if seen.loss is None else f"{text}, loss {seen.loss:.3f}"


def _row(found: Mapping[str, Objective], names: Iterable[str]) -> list[str]:
    return [interval(found[name]) if name in found else "-" for name in names]
