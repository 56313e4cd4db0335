"""What goes on in the worker: it loads once, then does one piece of work after the other.

Importing this loads no network; `begin`, which only ever runs in the worker, does.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import TypeVar

from metrics.detectors.models import ModelUnavailableError
from tuner.data import TrainingSets
from tuner.errors import DivergedError, TunerError
from tuner.events import Warned
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.terminal import own_warnings
from tuner.trial import Rung
from tuner.trial.messages import Outcome

_HARMLESS = (DivergedError, TunerError, ModelUnavailableError)
"""What work may raise without a doubt about the process that it ran in. Not OutOfMemoryError:
after it memory may be in pieces or still held, and a fresh process has all of it."""

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG

Result = TypeVar("Result")


class Trace(Exception):
    """A traceback of the worker, as text; the cause of the error that is raised anew."""

    def __str__(self) -> str:
        """As Python prints it."""
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Over:
    """The work is done, or was left at a rung."""


@dataclass(frozen=True)
class Failure:
    """The work raised `error`; with `ends` the worker ends too, and a fresh one has to do the
    next piece of work."""

    error: Exception
    trace: Trace
    ends: bool


@dataclass(frozen=True)
class Share:
    """A worker's part of the machine: it is number `place`, from 0, of `among` workers."""

    place: int = 0
    among: int = 1


def begin(
    connection: Connection,
    config: StudyConfig,
    folder: StudyFolder,
    data: TrainingSets,
    share: Share,
) -> None:
    """The life of a worker: it ends with its connection, with its parent, or by SIGTERM."""
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    _keep_to(share)
    _lock_bars_by_thread()
    try:
        with (
            own_warnings(lambda text: connection.send(Warned(text))),
            contextlib.suppress(EOFError),
        ):
            serve(connection, config, folder, data)
    except SystemExit as end:
        os._exit(int(end.code or 0))  # closed is all; what libraries say at exit is for nobody


def serve(
    connection: Connection, config: StudyConfig, folder: StudyFolder, data: TrainingSets
) -> None:
    """Load all there is, then do what is asked for until the connection ends (EOFError)."""
    from tuner.worker.bench import open_work

    with contextlib.ExitStack() as models:
        do = answer(connection, open_work(config, folder, data, models))
        while do is not None:
            answer(connection, do(connection.recv()))


def answer(connection: Connection, outcomes: Generator[Outcome, None, Result]) -> Result | None:
    """Send what `outcomes` yields and how it ends, and return what it returns.

    After a Rung the other side says whether to go on; None where it does not, and after an error
    of the work's own. Any other error is sent too, and SystemExit raised.
    """
    try:
        result = _passed_on(connection, outcomes)
    except Exception as error:
        harmless = isinstance(error, _HARMLESS)
        connection.send(Failure(_portable(error), _trace(error), ends=not harmless))
        if not harmless:
            raise SystemExit(1) from error
        return None
    connection.send(Over())
    return result


def _passed_on(connection: Connection, outcomes: Generator[Outcome, None, Result]) -> Result | None:
    with contextlib.closing(outcomes):
        while True:
            try:
                outcome = next(outcomes)
            except StopIteration as end:
                result: Result = end.value
                return result
            connection.send(outcome)
            if isinstance(outcome, Rung) and not connection.recv():
                return None


def _trace(error: Exception) -> Trace:
    return Trace("".join(traceback.format_exception(error)).rstrip())


def _portable(error: Exception) -> Exception:
    """`error` itself where the other side can read it without loading a network's library."""
    text = f"{type(error).__name__}: {error}"
    if type(error).__module__.partition(".")[0] not in ("builtins", "tuner", "metrics"):
        return RuntimeError(text)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    return error


def _keep_to(share: Share) -> None:
    """See one of several devices, in turn; without any, take as many of the cores as the others."""
    import torch

    count = torch.cuda.device_count()  # asks the driver: no device is touched yet
    if count > 1:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
        os.environ["CUDA_VISIBLE_DEVICES"] = device_of(share, seen)
    elif not count and share.among > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // share.among))


def _lock_bars_by_thread() -> None:
    """Give tqdm's bars a lock of this process alone: that of tqdm is a semaphore of the system, and
    of one that a worker leaves behind Python complains when `tuner run` ends."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    tqdm.set_lock(threading.RLock())


def device_of(share: Share, seen: str) -> str:
    """Which of the devices in CUDA's list `seen` a worker has; several share one where they are
    more."""
    devices = [one.strip() for one in seen.split(",")]
    return devices[share.place % len(devices)]


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: the judges are being closed
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    """Whatever ends the process that runs the study ends the worker: nobody would ask it again."""
    if sys.platform == "linux":  # holds for a worker that is stopped or hangs, too
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    threading.Thread(target=_outlive_no_parent, daemon=True).start()


def _outlive_no_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
