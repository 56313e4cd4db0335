"""How far a walk over many pictures is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_T = TypeVar("_T")
_LINE_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


def tracked(
    items: Iterable[_T], total: int, doing: str, now: Callable[[], float] = time.monotonic
) -> Iterator[_T]:
    """The same items; stderr says how many of `total` are done. `doing`: `pictures looked at`."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal or "NO_COLOR" in os.environ or console.is_dumb_terminal:
        yield from _with_lines(items, total, doing, now)
        return
    columns = TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as bar:
        yield from bar.track(items, total=total, description=doing)


def _with_lines(
    items: Iterable[_T], total: int, doing: str, now: Callable[[], float]
) -> Iterator[_T]:
    spoke = now()
    for done, item in enumerate(items, 1):
        yield item
        if now() - spoke >= _LINE_EVERY:
            print(f"{done} of {total} {doing}", file=sys.stderr, flush=True)
            spoke = now()


_WIDTH = 160
"""Columns where there is no terminal: rich would take 80 and fold the table's cells."""


def console() -> Console:
    """Where tables are printed: stdout, wide enough for them where it is no terminal."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_WIDTH)
