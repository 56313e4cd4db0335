"""The person at the terminal: tables, progress, warnings, and the signals that stop a command.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import io
import multiprocessing
import os
import signal
import sys
import threading
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

_ANY_TEXT = "tuner.any_text"
"""Name of the handler of letters that a stream's encoding does not have."""

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG

_arrived: list[list[int]] = []
"""The signals that arrived in the `stopping` that is open, if one is."""

_OWN_CODE = [Path(str(package.__file__)).resolve().parent for package in (metrics, tuner)]


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)


def accept_all_text() -> None:
    """Make stdout and stderr print any text, whatever their encoding is.

    A letter that they do not know is printed as its escape (`\\u5199`); a byte of a file name that
    is not UTF-8 as the replacement character.
    """
    codecs.register_error(_ANY_TEXT, _printable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ANY_TEXT)


def _printable(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    if error.encoding == "utf-8":  # it has all letters, but not the halves that stand for bytes
        return b"\xef\xbf\xbd" * len(text), error.end  # U+FFFD
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def console(stderr: bool = False) -> Console:
    """Return the console for tables and bars: wide enough for a table if it is not a terminal.

    Text is printed as it is: no brackets or colons in it are read as Rich's markup.
    """
    terminal = _console(stderr, None)
    return terminal if terminal.is_terminal else _console(stderr, _WIDTH)


def _console(stderr: bool, width: int | None) -> Console:
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def tracked(
    items: Iterable[_T], total: int | None, doing: str, now: Callable[[], float] = time.monotonic
) -> Iterator[_T]:
    """Pass `items` through and report on stderr how many of `total` are done.

    `doing` says what is counted, such as `pictures judged`. A terminal gets a bar, a file a line
    every 30 seconds.
    """
    progress = console(stderr=True)
    if not progress.is_terminal or "NO_COLOR" in os.environ or progress.is_dumb_terminal:
        yield from _with_lines(items, total, doing, now)
        return
    columns = (
        TextColumn(doing, markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
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
def stopping() -> Iterator[list[int]]:
    """Turn the first Ctrl-C into KeyboardInterrupt and the first SIGTERM into Terminated.

    The caller can then clean up; a second signal, or one while a module is being imported, ends the
    process at once. Signals that are ignored stay ignored. Yields a list to which the number of the
    signal is added when it arrives. Inside another `stopping`, whose list it yields, and outside
    the main thread it changes nothing.
    """
    if _arrived or threading.current_thread() is not threading.main_thread():
        yield _arrived[0] if _arrived else []
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    arrived: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if _importing(frame):  # an exception there would abort libraries in C++
            os._exit(128 + number)
        arrived.append(number)
        for each in handled:
            signal.signal(each, signal.SIG_DFL)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    _arrived.append(arrived)
    for number in handled:
        signal.signal(number, stop)
    try:
        yield arrived
    finally:
        _arrived.clear()
        for number in handled:
            signal.signal(number, before[number])


def _importing(frame: FrameType | None) -> bool:
    """Return True if a module is being imported below `frame`."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Block Ctrl-C and SIGTERM while a process is started.

    A spawned process inherits the block, so that Ctrl-C, which a terminal sends to all processes,
    never reaches it: its parent ends it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Make this process end when the one that spawned it ends, for whatever reason."""
    if sys.platform == "linux":  # works for a process that is suspended or hangs, too
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    threading.Thread(target=_outlive_no_parent, daemon=True).start()


def _outlive_no_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
