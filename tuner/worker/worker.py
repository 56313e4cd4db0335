"""The study's side of a worker: start the one process that uses the device, and watch it.

A worker is started once for a study (spawned: a device does not survive a fork), keeps the base,
the latents and the judges loaded, and does one piece of work at a time. Its events come back over a
pipe; it writes only files, no database. A worker that crashes, is killed or falls silent is lost,
and the next piece of work starts another one.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from tuner.data import TrainingSets
from tuner.errors import JudgeLostError
from tuner.events import Phase
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.terminal import signals_held
from tuner.trial import Rung
from tuner.trial.messages import BaseNeeded, ExtraScored, Idle, Outcome, Work
from tuner.worker.channel import Channel, Host, Message, ThisMachine, WorkerLostError
from tuner.worker.nodes.cluster import Cluster
from tuner.worker.nodes.host import ray_host
from tuner.worker.process import Failure, Over
from tuner.worker.share import Share

_TICK = 0.5
"""Seconds to wait for a message before the silence is measured again."""
ASK_AGAIN = 4.0
"""The same for one of several workers, which are waited for together."""
_REPLY = 0.01
"""Seconds to wait for what a worker does next, which it says at once when it has a word."""
_FACTOR = 10.0
_TO_ANSWER = 2.0
"""Seconds that a worker has to give up its work before it is ended."""

_DOING = {"load": "loading", "judges": "judging the training pictures"}
_DOING |= {
    "base": "sampling the base",
    "train": "training",
    "sample": "sampling",
    "score": "scoring",
}


@dataclass
class Patience:
    """Limit of a worker's silence in seconds, for each phase.

    The limit is ten times the longest silence in that phase so far, but at least `floor`; before
    the first silence (a download, a slow CPU) it is `unknown`.
    """

    floor: float = 600.0
    unknown: float = 3600.0
    longest: dict[str, float] = field(default_factory=dict)

    def limit(self, phase: str) -> float:
        """Return the seconds of silence that are allowed in `phase`."""
        known = self.longest.get(phase)
        return self.unknown if known is None else max(self.floor, _FACTOR * known)

    def heard(self, phase: str, seconds: float) -> None:
        """Record a silence of `seconds` that ended with a message."""
        self.longest[phase] = max(seconds, self.longest.get(phase, 0.0))


class Worker:
    """A worker of a study at `host`. Creating the object starts nothing; `close` ends it."""

    def __init__(
        self, host: Host, patience: Patience | None = None, share: Share | None = None
    ) -> None:
        """Create a worker that is not started yet.

        `share` is the worker's share of the study (None: all). One of several workers yields Idle
        while it has no message: all are waited for together (`tuner.study.turns`).
        """
        self.share = share or Share()
        self._host = host
        self._patience = patience or Patience()
        self._silent = 0.0
        self._looked: float | None = None
        self._channel: Channel | None = None

    @property
    def node(self) -> str | None:
        """Name of the machine that the worker runs on; None before it has started."""
        return None if self._channel is None else self._channel.node

    def start(self) -> Generator[Outcome, None, None]:
        """Start the process and load all models, unless a process is alive.

        Yields events, and the base's Rung if the base had to be sampled. Raises what loading
        raises, WorkerLostError if the process does not survive it.
        """
        if self._channel is not None:
            return
        with signals_held():
            self._channel = self._host.open(self.share)
        yield from self._outcomes("load")

    def do(self, work: Work) -> Generator[Outcome, None, None]:
        """Do `work`, in a new process if none is alive, and yield its outcomes.

        After a Rung or BaseNeeded the worker waits until the next outcome is requested. If the
        generator is closed there, the worker stays ready for other work; if it is closed anywhere
        else, the worker is ended. Raises what the work raised, WorkerLostError for a worker that
        died or fell silent.
        """
        with contextlib.closing(self.start()) as events:
            for event in events:
                if not isinstance(event, Rung | ExtraScored):  # of the base, stored already
                    yield event
        self._send(work)
        yield from self._outcomes("train")

    def claim(self) -> bool:
        """Return True if the worker is started, or its host has room for it now.

        See `give_room` for one whose room another one waits for.
        """
        if self._channel is None:
            return self._host.claim(self.share.place)
        return not self.give_room()

    def give_room(self) -> bool:
        """Close the worker, which is idle, if another one waits for its room; True if so."""
        if self._channel is None or not self._host.wanted(self.share.place):
            return False
        self.close()
        return True

    def outgrow(self) -> bool:
        """End the process, and start the next one with more memory; False if nothing has more."""
        if not self._host.outgrow(self.share.place):
            return False
        self.close()
        return True

    def close(self) -> None:
        """End the process, if one is alive; unfinished work is lost."""
        channel, self._channel = self._channel, None
        self._silent, self._looked = 0.0, None
        if channel is not None:
            channel.close()

    def _outcomes(self, phase: str) -> Generator[Outcome, None, None]:
        """Yield the outcomes of the work that was sent, which begins in `phase`."""
        over, waits, answered = False, False, False
        try:
            while True:
                message = self._receive(phase, answered=answered)
                if isinstance(message, Over | Failure):
                    over = True
                    if isinstance(message, Failure):
                        self._raise(message)
                    return
                if isinstance(message, Phase):
                    phase = message.name
                waits = answered = isinstance(message, Rung | BaseNeeded)
                yield message
                if waits:
                    waits = False
                    self._send(True)
        finally:
            if not over and not (waits and self._give_up()):
                self.close()

    def _give_up(self) -> bool:
        """Have a worker that waits for a word give up its work; return True if it did."""
        with contextlib.suppress(WorkerLostError):
            self._send(False)
            return isinstance(self._receive("train", _TO_ANSWER), Over)
        return False

    def _raise(self, failure: Failure) -> None:
        channel = self._channel
        assert channel is not None
        if failure.ends:
            channel.wait()  # it is closing the judges
            self.close()
        if isinstance(failure.error, JudgeLostError):  # its worker ended with it
            text = f"the worker ended because {failure.error}"
            raise WorkerLostError(text, channel.memory_ran_out()) from failure.trace
        raise failure.error from failure.trace

    def _send(self, message: object) -> None:
        assert self._channel is not None
        try:
            self._channel.send(message)
        except OSError as error:
            raise self._lost("waiting") from error

    def _receive(self, phase: str, limit: float | None = None, answered: bool = False) -> Message:
        """Return the worker's next message.

        Returns Idle if none is there and other workers may have one; waits a moment for one that
        was just `answered`. Raises WorkerLostError if the worker died or is silent for too long.
        """
        assert self._channel is not None
        allowed = self._patience.limit(phase) if limit is None else limit
        several = self.share.among > 1 and limit is None
        tick = _TICK if not several else _REPLY if answered else 0.0
        while not _readable(self._channel.connection, tick):
            self._silent += self._waited(tick)
            if self._silent >= allowed:
                self.close()
                raise WorkerLostError(
                    f"the worker gave no sign of life for {allowed:.0f} s while {_DOING[phase]}"
                )
            if several:
                return Idle(self._channel.connection)
        try:
            message = self._channel.recv()
        except (EOFError, OSError) as error:
            raise self._lost(_DOING[phase]) from error
        if limit is None:
            self._patience.heard(phase, self._silent)
        self._silent, self._looked = 0.0, None
        return message

    def _waited(self, first: float) -> float:
        """Return the seconds since the last call, at most two looks; `first` for the first call.

        If this process slept too (Ctrl-Z, a closed lid), the worker is not late.
        """
        now = time.monotonic()
        since = first if self._looked is None else now - self._looked
        self._looked = now
        return min(since, 2 * (_TICK if first else ASK_AGAIN))

    def _lost(self, doing: str) -> WorkerLostError:
        """Return the error with the cause of the worker's end, which is awaited."""
        assert self._channel is not None
        error = self._channel.lost(doing)
        self.close()
        return error


def _readable(connection: Connection, seconds: float) -> bool:
    """Return True once there is something to receive, within `seconds`.

    As `connection.poll`, which takes ten times as long.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(1000 * seconds))


@contextlib.contextmanager
def open_workers(
    config: StudyConfig,
    folder: StudyFolder,
    data: TrainingSets,
    count: int,
    patience: Patience | None = None,
    cluster: Cluster | None = None,
) -> Iterator[list[Worker]]:
    """Create `count` workers, each with its share of the machine, and close them at the end.

    With `cluster` they are on its nodes, and those for which it has room are started.
    """
    with contextlib.ExitStack() as stack:
        host: Host = ThisMachine(config, folder, data)
        if cluster is not None:
            host = stack.enter_context(ray_host(cluster, config, folder, data))
        pool = [Worker(host, patience, Share(at, count)) for at in range(count)]
        yield [stack.enter_context(contextlib.closing(worker)) for worker in pool]
