"""The person at the terminal: tables, progress, warnings, and the signals that stop a command.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import metrics
import tuner
from tuner.errors import Terminated

_T = TypeVar("_T")

_LINE_EVERY = 30.0
"""Seconds between two lines of progress where there is no terminal."""

_WIDTH = 160
"""Columns where there is no terminal: rich would take 80 and fold the table's cells."""

_OWN_CODE = [Path(str(package.__file__)).resolve().parent for package in (metrics, tuner)]


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)


def console() -> Console:
    """Return the console for tables: stdout, wide enough for them if it is not a terminal."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_WIDTH)


def tracked(
    items: Iterable[_T], total: int | None, doing: str, now: Callable[[], float] = time.monotonic
) -> Iterator[_T]:
    """Pass `items` through and report on stderr how many of `total` are done.

    `doing` says what is counted, such as `pictures judged`. A terminal gets a bar, a file a line
    every 30 seconds.
    """
    progress = Console(stderr=True, highlight=False)
    if not progress.is_terminal or "NO_COLOR" in os.environ or progress.is_dumb_terminal:
        yield from _with_lines(items, total, doing, now)
        return
    columns = TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=progress) as bar:
        yield from bar.track(items, total=total, description=doing)


def _with_lines(
    items: Iterable[_T], total: int | None, doing: str, now: Callable[[], float]
) -> Iterator[_T]:
    last = now()
    of = "" if total is None else f" of {total}"
    for done, item in enumerate(items, 1):
        yield item
        if now() - last >= _LINE_EVERY:
            say(f"{done}{of} {doing}")
            last = now()


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Print the warnings of tuner and metrics as one line each, once, and no others.

    Warnings of other libraries do not help the user.
    """
    with own_warnings(lambda text: say(f"warning: {text}")):
        yield


@contextlib.contextmanager
def own_warnings(handle: Callable[[str], None]) -> Iterator[None]:
    """Pass the text of each warning of tuner and metrics to `handle`, once, and drop all others."""
    handled: set[str] = set()
    before = warnings.showwarning

    def show_once(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        folder = Path(filename).resolve().parent
        own = any(folder.is_relative_to(package) for package in _OWN_CODE)
        if str(message) not in handled and own:
            handled.add(str(message))
            handle(str(message))

    warnings.showwarning = show_once
    try:
        yield
    finally:
        warnings.showwarning = before


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Turn the first Ctrl-C into KeyboardInterrupt and the first SIGTERM into Terminated.

    The caller can then clean up; a second signal ends the process at once. Signals that are ignored
    stay ignored.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = [number for number, handler in before.items() if handler != signal.SIG_IGN]

    def stop(number: int, frame: FrameType | None) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    for number in handled:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
