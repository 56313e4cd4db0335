"""How the study's process speaks with one worker process: words to it, messages from it, its end.

`ThisMachine` spawns the process here and speaks with it over a pipe. `tuner.worker.nodes.channel`
has the same for a node of a Ray cluster.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import socket
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Protocol

from tuner.data import TrainingSets
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.trial.messages import Outcome
from tuner.worker.guard import Guard
from tuner.worker.process import Failure, Over, begin
from tuner.worker.share import Share

_SPAWN = multiprocessing.get_context("spawn")

_TO_LEAVE = 2.0
"""Seconds that a worker has to clean up before it is killed; a stop may take 10 in all."""

_ONE_MESSAGE = 60.0
"""Seconds within which a message must arrive completely once its first bytes are there."""

_OOM_KILLS = Path("/proc/vmstat")

Message = Outcome | Over | Failure
"""What a worker process sends."""


class WorkerLostError(Exception):
    """The worker ended in the middle of its work; the message has the cause and the phase.

    `out_of_memory` is True if the system killed the worker because memory ran out.
    """

    def __init__(self, message: str, out_of_memory: bool = False) -> None:
        """Create the error with its message."""
        super().__init__(message)
        self.out_of_memory = out_of_memory


class Channel(Protocol):
    """A started worker process and the way to speak with it."""

    @property
    def connection(self) -> Connection:
        """A connection that is readable when `recv` would not wait, for `connection.wait`."""

    @property
    def node(self) -> str | None:
        """Name of the machine that the worker runs on; None until it has one."""

    def send(self, message: object) -> None:
        """Send a word to the worker; raises OSError if it is gone."""

    def recv(self) -> Message:
        """Return the next message; raises EOFError or OSError if the worker is gone."""

    def memory_ran_out(self) -> bool:
        """Return True if the worker's system has killed a process for memory since the start."""

    def wait(self) -> None:
        """Wait a moment for the worker to end by itself."""

    def lost(self, doing: str) -> WorkerLostError:
        """Wait a moment for the worker's end; return the error with its cause."""

    def close(self) -> None:
        """End the worker; unfinished work is lost."""


class Host(Protocol):
    """A place for worker processes of one study."""

    def open(self, share: Share) -> Channel:
        """Start a worker process for the worker with `share` of the study."""

    def claim(self, place: int) -> bool:
        """Reserve room for the worker of `place`, which is not started; False if there is none."""

    def wanted(self, place: int) -> bool:
        """Return True if another worker waits for the room of the worker of `place`."""

    def outgrow(self, place: int) -> bool:
        """Have the worker of `place` started next with more memory; False if nothing has more."""


@dataclass(frozen=True)
class ThisMachine:
    """This machine as the host of the workers of the study in `folder`."""

    config: StudyConfig
    folder: StudyFolder
    data: TrainingSets

    def open(self, share: Share) -> LocalChannel:
        """Spawn a process and return the way to speak with it."""
        ours, theirs = _SPAWN.Pipe()
        arguments = (theirs, self.config, self.folder, self.data, share)
        killed = oom_kills()
        process = _SPAWN.Process(target=begin, args=arguments, name="tuner-worker", daemon=True)
        process.start()
        theirs.close()
        return LocalChannel(process, ours, killed)

    def claim(self, place: int) -> bool:
        """Return True: the number of workers was chosen for this machine."""
        return True

    def wanted(self, place: int) -> bool:
        """Return False: each worker has its own room."""
        return False

    def outgrow(self, place: int) -> bool:
        """Return False: all workers have the memory of this machine."""
        return False


@dataclass
class LocalChannel:
    """A worker process of this machine and its pipe.

    `killed_before` counts the processes that the system killed for memory before it started.
    """

    process: SpawnProcess
    connection: Connection
    killed_before: int
    node: str = field(default_factory=socket.gethostname)
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        """Watch the messages of the process."""
        self.guard = Guard(self.process, _ONE_MESSAGE)

    def send(self, message: object) -> None:
        """Send a word to the worker; raises OSError if it is gone."""
        self.connection.send(message)

    def recv(self) -> Message:
        """Return the next message, which must arrive in time; raises EOFError or OSError."""
        with self.guard.message():
            message: Message = self.connection.recv()
        return message

    def memory_ran_out(self) -> bool:
        """Return True if the system has killed a process for memory since the start."""
        return oom_kills() > self.killed_before

    def wait(self) -> None:
        """Wait a moment for the process to end by itself."""
        self.process.join(_TO_LEAVE)

    def lost(self, doing: str) -> WorkerLostError:
        """Wait a moment for the process to end; return the error with the cause of its end."""
        self.wait()
        code = self.process.exitcode
        if code is None or code >= 0:
            return WorkerLostError(f"the worker ended by itself (exit code {code}) while {doing}")
        if -code == signal.SIGKILL and self.memory_ran_out():
            return WorkerLostError(
                f"the worker was killed because memory ran out while {doing}", out_of_memory=True
            )
        return WorkerLostError(
            f"the worker was killed ({signal.Signals(-code).name}) while {doing}"
        )

    def close(self) -> None:
        """End the process, which may clean up for a moment."""
        self.guard.close()
        self.process.terminate()
        self.process.join(_TO_LEAVE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join(_TO_LEAVE)
        self.connection.close()  # last: a worker that finds its pipe broken would print an error


def oom_kills() -> int:
    """Return how many processes Linux has killed because memory ran out; 0 if it is not known."""
    with contextlib.suppress(OSError, ValueError):
        for line in _OOM_KILLS.read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
