"""The worker's process: it loads all models once, then does one piece of work after the other.

Importing this module loads no network; `begin`, which runs only in the worker, does.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING, TypeVar, cast

from metrics.detectors.models import ModelUnavailableError
from tuner.data import TrainingSets
from tuner.errors import DivergedError, TunerError, portable
from tuner.events import Progress, Warned
from tuner.space import StudyConfig
from tuner.storage import Store, StudyFolder
from tuner.terminal import end_with_parent, own_warnings
from tuner.trial import RepeatWork, Rung, TrialWork
from tuner.trial.messages import BaseNeeded, JudgeWork, Outcome, Work
from tuner.worker.compiling import compile_plan
from tuner.worker.count import free_bytes, judge_processes, usable_cores
from tuner.worker.share import Share, keep_freed_memory, keep_to

if TYPE_CHECKING:
    from tuner.trial import Workbench
    from tuner.trial.extra import Extras

_HARMLESS = (DivergedError, TunerError, ModelUnavailableError)
"""Errors after which the process can do other work. Not OutOfMemoryError: after it, memory may be
fragmented or still held, and a fresh process has all of it."""

REPORTS_A_SECOND = 10
"""Reports of progress that the study's process reads of all its workers together."""

Result = TypeVar("Result")
DoWork = Callable[[Work], Generator[Outcome, None, None]]
"""Does a piece of work; yields its outcomes."""


class Trace(Exception):
    """A traceback of the worker as text: the cause of the error that the study's process raises."""

    def __str__(self) -> str:
        """Return the worker's traceback."""
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Over:
    """The message that the work is done, or was given up at a rung."""


@dataclass(frozen=True)
class Failure:
    """The message that the work raised `error`. With `ends` the worker ends as well, and a fresh
    one has to do the next piece of work."""

    error: Exception
    trace: Trace
    ends: bool


def begin(
    connection: Connection,
    config: StudyConfig,
    folder: StudyFolder,
    data: TrainingSets,
    share: Share,
) -> None:
    """Run a worker until its connection closes, its parent ends, or SIGTERM arrives."""
    end_with_parent()
    multiprocessing.current_process().daemon = False  # it may have judge processes
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    sys.unraisablehook = _end_if_left
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    keep_to(share.here)
    keep_freed_memory()
    config = _compile_decided(config, share)
    _lock_bars_by_thread()
    try:
        with (
            own_warnings(lambda text: connection.send(Warned(text))),
            contextlib.suppress(EOFError),
        ):
            serve(connection, config, folder, data, share)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    os._exit(code)  # everything is closed; skips the libraries' exit messages


def serve(
    connection: Connection,
    config: StudyConfig,
    folder: StudyFolder,
    data: TrainingSets,
    share: Share,
) -> None:
    """Load all models, then do the work that is received, until the connection ends (EOFError).

    What is made once for a study from its base, the first of its workers makes.
    """
    with contextlib.ExitStack() as models:
        pause = share.among / REPORTS_A_SECOND
        do = answer(connection, open_work(config, folder, data, models, share), pause)
        while do is not None:
            answer(connection, do(connection.recv()), pause)


def open_work(
    config: StudyConfig,
    folder: StudyFolder,
    data: TrainingSets,
    models: contextlib.ExitStack,
    share: Share,
) -> Generator[Outcome, None, DoWork]:
    """Open the workbench (see `open_bench`) and return the function that does work on it.

    The first worker samples the base under the study's extra suites too. Opens results.db for
    reading. Cores that no worker uses are shared by the judge processes of all.
    """
    import torch

    from tuner.trial import open_bench
    from tuner.trial.extra import extras_of, sample_bases
    from tuner.trial.judged import run_judged
    from tuner.trial.recipe import recipe_runner
    from tuner.trial.repeat import run_repeat

    on_gpu = torch.cuda.is_available()
    judges = judge_processes(usable_cores(), free_bytes(), share.here.among, on_gpu)
    first = share.place == 0
    bench = yield from open_bench(config, folder, data, models, first, judges)
    store = models.enter_context(Store(folder.results_db, read_only=True))
    run: Callable[[TrialWork], Generator[Outcome, None, None]]
    if config.recipes:
        run = recipe_runner(bench, config, folder, store)
    else:
        extras = extras_of(config, folder, store)
        if first:
            yield from sample_bases(bench, extras)
        run = partial(_run_searched, bench, extras, store)

    def do(work: Work) -> Generator[Outcome, None, None]:
        match work:
            case TrialWork():
                yield from run(work)
            case RepeatWork():
                yield from run_repeat(bench, folder, work)
            case JudgeWork():
                assert config.judged is not None
                yield from run_judged(bench, config.judged, work, folder.trial(work.number))

    return do


def _run_searched(
    bench: Workbench, extras: Extras, store: Store, work: TrialWork
) -> Generator[Outcome, None, None]:
    """Run a trial of a search space, then sample its last rung under the extra suites."""
    from tuner.trial import run_trial
    from tuner.trial.extra import extras_of, sample_extras

    files, last = extras.folder.trial(work.number), work.rungs[-1]
    yield from run_trial(bench, work.number, work.config, work.rungs, files)
    if not extras.of_base.keys() >= set(extras.common()):
        yield BaseNeeded()
        extras.of_base.update(extras_of(extras.config, extras.folder, store).of_base)
    yield from sample_extras(bench, extras, work.number, work.config, (last, files.rung(last)))


def answer(
    connection: Connection, outcomes: Generator[Outcome, None, Result], pause: float = 0.0
) -> Result | None:
    """Send what `outcomes` yields and then Over or Failure; return what `outcomes` returns.

    After a Rung or BaseNeeded the other side sends True to continue or False to give up. Returns
    None if it gives up, and after an error that leaves the process usable; after any other its
    Failure is sent and SystemExit raised. Progress is sent once in `pause` seconds.
    """
    try:
        result = _send_all(connection, outcomes, pause)
    except Exception as error:
        harmless = isinstance(error, _HARMLESS)
        trace = Trace("".join(traceback.format_exception(error)).rstrip())
        connection.send(Failure(portable(error), trace, ends=not harmless))
        if not harmless:
            raise SystemExit(1) from error
        return None
    connection.send(Over())
    return result


def _send_all(
    connection: Connection, outcomes: Generator[Outcome, None, Result], pause: float
) -> Result | None:
    reported = -math.inf
    with contextlib.closing(outcomes):
        while True:
            try:
                outcome = next(outcomes)
            except StopIteration as end:
                return cast(Result, end.value)
            if isinstance(outcome, Progress) and outcome.done < outcome.total:
                if time.monotonic() - reported < pause:
                    continue
                reported = time.monotonic()
            connection.send(outcome)
            if isinstance(outcome, Rung | BaseNeeded) and not connection.recv():
                return None


def _compile_decided(config: StudyConfig, share: Share) -> StudyConfig:
    """Return the study with `always` or `never` in the place of `compile: auto`."""
    import torch

    plan = compile_plan(config, torch.cuda.is_available(), share.among)
    return config.model_copy(update={"compile": "always" if plan.compiles else "never"})


def _lock_bars_by_thread() -> None:
    """Give tqdm's bars a lock between threads only.

    tqdm's own lock is a system semaphore; if a worker leaves one behind, Python prints a warning
    when `tuner run` ends.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    tqdm.set_lock(threading.RLock())


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # no second one while the judges are being closed
    if isinstance(sys.exc_info()[1], SystemExit):
        return  # it is ending after an error: another exception would be printed
    raise SystemExit(128 + number)


def _end_if_left(ignored: sys.UnraisableHookArgs) -> None:
    """End the process if a library dropped the exception of SIGTERM, which would be lost."""
    if issubclass(ignored.exc_type, SystemExit):
        os._exit(128 + signal.SIGTERM)
    sys.__unraisablehook__(ignored)
