"""Show the events of a running study on stderr: a live panel on a terminal, else single lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from metrics.contract import Objective
from metrics.pareto import pareto
from tuner.events import (
    COUNTED,
    BaseOpened,
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
from tuner.terminal import console
from tuner.text import duration, interval, words

_LINE_EVERY = 30.0
"""Seconds between two lines of progress without a terminal."""

_DOING = {
    "load": "loading the base and the judges",
    "judges": "judging the training pictures",
    "base": "sampling the base",
    "train": "training",
    "sample": "sampling",
    "score": "scoring",
}

Points = dict[int, Mapping[str, Objective]]
Work = tuple[int | None, int]
"""A trial (None: the base), and the number of its training in a confirmation, else 0."""


@dataclass
class Doing:
    """Progress of a trial; `last` has the objectives of its latest rung."""

    phase: str = ""
    progress: Progress | None = None
    last: Mapping[str, Objective] = field(default_factory=dict)


@dataclass
class View:
    """State of a study, built from its events; `finished` counts the trials of earlier runs too.

    `work` is that of the latest event, `now` has all work that is running; its trial is None for
    the base. `begun` is True once the base is scored. `lines` are messages that are not printed
    yet.
    """

    study: str
    trials: int
    objectives: tuple[str, ...]
    finished: int = 0
    best: Points = field(default_factory=dict)
    work: Work = (None, 0)
    now: dict[Work, Doing] = field(default_factory=dict)
    begun: bool = False
    lines: list[str] = field(default_factory=list)
    _ended: int = 0
    _began: float = field(default_factory=time.monotonic)

    def update(self, event: Event) -> None:
        """Update the state from one event, and add its message, if any, to `lines`."""
        match event:
            case Phase(name, trial, repeat):
                doing = self._doing((trial, repeat))
                if trial is None and name != doing.phase:
                    self.lines.append(_DOING[name])
                doing.phase, doing.progress = name, None
            case Progress():
                self._doing((event.trial, event.repeat)).progress = event
            case TrialStarted(trial, parameters):
                self._begun((trial, 0))
                chosen = words(parameters) or "every parameter is fixed"
                self.lines.append(f"trial {trial} ({self.place}): {chosen}")
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
        """Position of the latest running trial in the study: `3/12`."""
        running = max(1, sum(trial is not None for trial, _ in self.now))
        return f"{min(self.finished + running, self.trials)}/{self.trials}"

    @property
    def front(self) -> list[int]:
        """Complete trials on the Pareto front, by number."""
        numbers = list(self.best)
        points = [[self.best[n][name].value for name in self.objectives] for n in numbers]
        return [numbers[index] for index in pareto(points)] if points else []

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds for the remaining trials; None before the first trial has ended."""
        if not self._ended:
            return None
        seconds_per_trial = (time.monotonic() - self._began) / self._ended
        return seconds_per_trial * max(0, self.trials - self.finished)

    def _scored(self, event: RungScored) -> None:
        numbers = self._numbers(event.objectives)
        if event.trial is None:
            # The time of a trial does not include the loading of the models.
            self._began, self.begun = time.monotonic(), True
            self.now.pop((None, 0), None)
            self.lines.append(f"base: {numbers}")
            return
        self._doing((event.trial, 0)).last = event.objectives
        self.lines.append(f"trial {event.trial}, step {event.step}: {numbers}")

    def _doing(self, work: Work) -> Doing:
        self.work = work
        return self.now.setdefault(work, Doing())

    def _begun(self, work: Work) -> None:
        self.work, self.now[work] = work, Doing()

    def _confirmed(self, event: RepeatStarted | RepeatEnded) -> None:
        work = (event.trial, event.repeat)
        if isinstance(event, RepeatStarted):
            self._begun(work)
            self.lines.append(f"confirming, {event.place}/{event.places}: {_lora(event)}")
        else:
            self.now.pop(work, None)
            result = event.reason or self._numbers(event.objectives)
            self.lines.append(f"{_lora(event)}: {result}")

    def _numbers(self, measured: Mapping[str, Objective]) -> str:
        names = [name for name in self.objectives if name in measured]
        return ", ".join(f"{name} {interval(measured[name])}" for name in names)

    def _over(self, event: TrialEnded) -> None:
        if event.state in COUNTED:
            self.finished += 1
            self._ended += 1
        ended = self.now.pop((event.trial, 0), Doing())
        if event.state == "complete" and ended.last:
            self.best[event.trial] = ended.last
        reason = f" ({event.reason})" if event.reason else ""
        left = f", {duration(self.seconds_left)} left" if self.seconds_left else ""
        self.lines.append(f"trial {event.trial} {event.state}{reason}{left}")


def recall(view: View, results: Results) -> None:
    """Set the view's state from the results of earlier runs of the study."""
    view.finished = results.finished
    view.best = {result.trial.number: result.rung.objectives for result in front(results)}


def show(view: View, events: Iterable[Event], plain: bool = False) -> None:
    """Show `events` until they end, on a live panel or line by line.

    Lines are used with `plain`, if stderr is not a terminal, and with NO_COLOR or TERM=dumb.
    """
    terminal = console(stderr=True)
    if plain or not terminal.is_terminal or "NO_COLOR" in os.environ or terminal.is_dumb_terminal:
        for line in plain_lines(view, events):
            print(line, file=sys.stderr, flush=True)
        return
    with Live(panel(view), console=terminal, refresh_per_second=4) as live:
        for event in events:
            view.update(event)
            while view.lines:
                live.console.print(view.lines.pop(0))
            live.update(panel(view))


def plain_lines(
    view: View, events: Iterable[Event], now: Callable[[], float] = time.monotonic
) -> Iterator[str]:
    """Yield one line for each message, and one for progress after 30 seconds without a line.

    `now` is the clock, in seconds.
    """
    last_line = now()
    for event in events:
        view.update(event)
        if isinstance(event, Progress) and now() - last_line >= _LINE_EVERY:
            doing = view.now[view.work]
            view.lines.append(f"{_who(view.work, doing)}, {_pace(doing)}")
        if view.lines:
            last_line = now()
        while view.lines:
            yield view.lines.pop(0)


def panel(view: View) -> RenderableType:
    """Return the live panel: trial number, progress bars, objectives, and the time left."""
    head = Text.assemble((view.study, "bold"), f"  trial {view.place}")
    bars = Table.grid(padding=(0, 1))
    for work, doing in view.now.items():
        progress = doing.progress or Progress(0, 1, 0.0)
        bar = ProgressBar(progress.total, progress.done, width=30)
        bars.add_row(_who(work, doing), bar, _pace(doing))
    left = "not known yet" if view.seconds_left is None else duration(view.seconds_left)
    numbers = Table.grid(padding=(0, 2))
    numbers.add_row("", *view.objectives)
    for (trial, _), doing in view.now.items():
        if doing.last:
            numbers.add_row(f"last rung: {trial}", *_row(doing.last, view.objectives))
    for number in view.front[:5]:
        numbers.add_row(f"best: {number}", *_row(view.best[number], view.objectives))
    return Group(head, bars, numbers, Text(f"time left: {left}", style="dim"))


def _remark(event: BaseOpened | Retried | Warned) -> str:
    if isinstance(event, BaseOpened):
        return f"base {event.base} {event.prediction}"
    if isinstance(event, Warned):
        return f"warning: {event.text}"
    return event.reason if event.trial is None else f"trial {event.trial}: {event.reason}"


def _lora(event: RepeatStarted | RepeatEnded) -> str:
    if event.trial is None:
        return "the base on fresh noise"
    again = f", trained again with another seed ({event.repeat})" if event.repeat else ""
    return f"trial {event.trial}, step {event.step} on fresh noise{again}"


def _who(work: Work, doing: Doing) -> str:
    (trial, repeat), phase = work, _DOING.get(doing.phase, "starting")
    if trial is None:
        return phase
    return f"trial {trial}, training {repeat}, {phase}" if repeat else f"trial {trial}, {phase}"


def _pace(doing: Doing) -> str:
    if doing.progress is None:
        return ""
    unit = "steps" if doing.phase == "train" else "samples"
    progress = doing.progress
    text = f"{progress.done}/{progress.total} {unit}, {progress.per_second:.1f}/s"
    return text if progress.loss is None else f"{text}, loss {progress.loss:.3f}"


def _row(measured: Mapping[str, Objective], names: Iterable[str]) -> list[str]:
    return [interval(measured[name]) if name in measured else "-" for name in names]
