"""The worker: the one process that touches the device, and how the study's process watches it.

It is started once for a study (spawned: a device does not survive a fork), keeps the base, the
latents and the judges loaded, and does what it is asked, one piece of work at a time. What happens
comes back over a pipe; nothing but files is written there. A worker that crashes, is killed or
falls silent is gone with what it held, and the next piece of work starts another one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from tuner.data import TrainingSets
from tuner.events import Phase
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.trial import Rung
from tuner.trial.messages import ExtraScored, Idle, Outcome, Work
from tuner.worker.process import Failure, Over, Share, begin

_SPAWN = multiprocessing.get_context("spawn")

_TICK = 0.5
_SHORT_TICK = 0.05
"""Seconds to wait for one worker where others have something to tell, too."""
_FACTOR = 10.0
_TO_LEAVE = 2.0
"""Seconds to put things in order before a worker is killed; a stop may take 10 in all."""

_ONE_MESSAGE = 60.0
"""Seconds in which a message that has begun to come must be there."""

_OOM_KILLS = Path("/proc/vmstat")

_DOING = {"load": "loading", "base": "sampling the base", "train": "training"}
_DOING |= {"sample": "sampling", "score": "scoring"}


class WorkerLostError(Exception):
    """The worker is gone in the middle of its work; the message says how and in which phase.

    `out_of_memory`: it is the system that killed it, for want of memory.
    """

    def __init__(self, cause: str, out_of_memory: bool = False) -> None:
        """`cause` is the message."""
        super().__init__(cause)
        self.out_of_memory = out_of_memory


@dataclass
class Patience:
    """How many seconds a worker may be silent in a phase: ten times its longest silence there so
    far, but at least `floor`; `unknown` where there was none yet (a download, a slow processor)."""

    floor: float = 600.0
    unknown: float = 3600.0
    longest: dict[str, float] = field(default_factory=dict)

    def limit(self, phase: str) -> float:
        """What is allowed now."""
        known = self.longest.get(phase)
        return self.unknown if known is None else max(self.floor, _FACTOR * known)

    def heard(self, phase: str, seconds: float) -> None:
        """A silence of so many seconds has ended by itself."""
        self.longest[phase] = max(seconds, self.longest.get(phase, 0.0))


class Worker:
    """A worker for the study in `folder`. Making the value starts nothing; `close` ends it."""

    def __init__(
        self,
        config: StudyConfig,
        folder: StudyFolder,
        data: TrainingSets,
        patience: Patience | None = None,
        share: Share | None = None,
    ) -> None:
        """`data` are the study's training sets; `share` is its part of the machine (None: all).

        One of several yields Idle where nothing has come for a moment.
        """
        self.share = share or Share()
        self._about = (config, folder, data, self.share)
        self._patience = patience or Patience()
        self._silent = 0.0
        self._looked: float | None = None
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._killed_before = 0

    def start(self) -> Generator[Outcome, None, None]:
        """Start the process and have it load all there is, where none lives.

        Yields what happens, and the base's Rung if it had to be sampled. Raises what loading
        raises, WorkerLostError where the process does not survive it.
        """
        if self._process is not None:
            return
        self._killed_before = _oom_kills()
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(
            target=begin, args=(theirs, *self._about), name="tuner-worker", daemon=True
        )
        with _signals_held():
            process.start()
            self._process, self._connection = process, ours
        theirs.close()
        yield from self._outcomes("load")

    def do(self, work: Work) -> Generator[Outcome, None, None]:
        """Have `work` done, by a new process where none lives, and yield what happens.

        After a Rung the worker waits until the next outcome is asked for. Closed at a Rung, the
        generator leaves the worker ready for other work; closed anywhere else, it ends it. Raises
        what the work raised, WorkerLostError for a worker that died or fell silent.
        """
        with contextlib.closing(self.start()) as events:
            for event in events:
                if not isinstance(event, Rung | ExtraScored):  # the base's, which are kept already
                    yield event
        self._send(work)
        yield from self._outcomes("train")

    def close(self) -> None:
        """End the process, where one lives; what it was at is lost."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        self._silent, self._looked = 0.0, None
        if process is None or connection is None:
            return
        process.terminate()
        process.join(_TO_LEAVE)
        if process.exitcode is None:
            process.kill()
            process.join(_TO_LEAVE)
        connection.close()  # after it: a worker that finds its pipe broken would complain

    def _outcomes(self, phase: str) -> Generator[Outcome, None, None]:
        over, at_rung = False, False
        try:
            while True:
                message = self._receive(phase)
                if isinstance(message, Over | Failure):
                    over = True
                    if isinstance(message, Failure):
                        self._raise(message)
                    return
                if isinstance(message, Phase):
                    phase = message.name
                at_rung = isinstance(message, Rung)
                yield message
                if at_rung:
                    at_rung = False
                    self._send(True)
        finally:
            if not over and not (at_rung and self._left()):
                self.close()

    def _left(self) -> bool:
        """Tell a worker that waits at a rung to leave it there; whether it has."""
        with contextlib.suppress(WorkerLostError):
            self._send(False)
            return isinstance(self._receive("train", _TO_LEAVE), Over)
        return False

    def _raise(self, failure: Failure) -> None:
        if failure.ends:
            if self._process is not None:
                self._process.join(_TO_LEAVE)  # it is closing the judges
            self.close()
        raise failure.error from failure.trace

    def _send(self, message: object) -> None:
        assert self._connection is not None
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._lost("waiting") from error

    def _receive(self, phase: str, limit: float | None = None) -> Outcome | Over | Failure:
        """The worker's next message, or Idle where others may have one and none came for a moment.

        Raises WorkerLostError once it is dead or silent too long.
        """
        assert self._connection is not None
        assert self._process is not None
        allowed = self._patience.limit(phase) if limit is None else limit
        several = self.share.among > 1 and limit is None
        while not self._connection.poll(_SHORT_TICK if several else _TICK):
            self._silent += self._waited()
            if self._silent >= allowed:
                self.close()
                raise WorkerLostError(
                    f"the worker gave no sign of life for {allowed:.0f} s while {_DOING[phase]}"
                )
            if several:
                return Idle()
        guard = threading.Timer(_ONE_MESSAGE, self._process.kill)
        guard.start()
        try:
            message: Outcome | Over | Failure = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost(_DOING[phase]) from error
        finally:
            guard.cancel()
        if limit is None:
            self._patience.heard(phase, self._silent)
        self._silent, self._looked = 0.0, None
        return message

    def _waited(self) -> float:
        """Seconds since the last look, but few: where this process slept too (Ctrl-Z, a closed
        lid), nobody was late."""
        now = time.monotonic()
        since = _TICK if self._looked is None else now - self._looked
        self._looked = now
        return min(since, 2 * _TICK)

    def _lost(self, doing: str) -> WorkerLostError:
        """Why the process is gone, found out once it is."""
        process = self._process
        assert process is not None
        process.join(_TO_LEAVE)
        code = process.exitcode
        self.close()
        if code is None or code >= 0:
            return WorkerLostError(f"the worker ended by itself (exit code {code}) while {doing}")
        if -code == signal.SIGKILL and _oom_kills() > self._killed_before:
            return WorkerLostError(f"the worker was killed for its memory while {doing}", True)
        name = signal.Signals(-code).name
        return WorkerLostError(f"the worker was killed ({name}) while {doing}")


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM for as long as it takes to start a process.

    A spawned process inherits that, so that Ctrl-C, which a terminal sends to both, never reaches
    a worker: its fate is decided here.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _oom_kills() -> int:
    """How often Linux has killed a process for want of memory; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in _OOM_KILLS.read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
