"""Print results and the events of a running study as JSON on stdout, for programs.

docs/commands.md lists the fields. The printer for people is tuner/cli/live.py.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

from tuner.events import Event, Progress
from tuner.storage.json_text import json_text

if TYPE_CHECKING:
    from tuner.cli.live import View

PROGRESS_EVERY = 1.0
"""Fewest seconds between two lines of progress of a trial: programs do not redraw more often."""

Write = Callable[[Mapping[str, object]], None]
"""Prints a document on stdout, as one line."""


@contextlib.contextmanager
def json_only(wanted: bool) -> Iterator[Write | None]:
    """Yield a function that prints a document on stdout; None if JSON is not `wanted`.

    Everything else that is printed within the context goes to stderr, also by libraries and by
    processes that begin within it.
    """
    if not wanted:
        yield None
        return
    with _own_stdout() as stdout, contextlib.redirect_stdout(sys.stderr):
        yield lambda document: print(line(document), file=stdout, flush=True)


def line(document: Mapping[str, object]) -> str:
    """Return a document on one line of ASCII: data classes as objects, paths as text.

    Numbers that are not finite become null.
    """
    return json_text(document, ascii_only=True)


def event_document(event: Event) -> dict[str, object]:
    """Return an event as its name, such as `trial_started`, and its fields."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return {"event": name} | vars(event)


def write_events(
    view: View,
    events: Iterable[Event],
    write: Write,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Print a line for each of `events`, for progress at most one a second for each training.

    `view` follows the events. `now` is the clock, in seconds.
    """
    printed: dict[tuple[int | None, int], float] = {}
    for event in events:
        view.update(event)
        view.lines.clear()
        if isinstance(event, Progress):
            seconds, training = now(), (event.trial, event.repeat)
            if seconds - printed.get(training, -math.inf) < PROGRESS_EVERY:
                continue
            printed[training] = seconds
        write(event_document(event))


@contextlib.contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """Yield stdout as it is now; the descriptor 1 leads to stderr until the end of the context."""
    try:
        shared = sys.stdout.fileno() == 1
    except (AttributeError, io.UnsupportedOperation):  # closed, or replaced by a test
        shared = False
    if not shared:
        yield sys.stdout
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    stdout = os.fdopen(kept, "w", encoding="ascii", closefd=False)
    try:
        yield stdout
    finally:
        with contextlib.suppress(OSError):  # a line that could not be written is reported already
            stdout.close()
        os.dup2(kept, 1)
        os.close(kept)
