"""A worker on a node of a Ray cluster, as the study's process speaks with it.

A thread finds the worker a seat, has it started there, and then takes its messages and their files.
Another one sends words, and before each the files that the worker reads then. Both end with the
channel.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from queue import SimpleQueue
from typing import Any

from tuner.events import Warned
from tuner.trial.messages import BaseNeeded, Idle, Work
from tuner.worker.channel import Message, WorkerLostError
from tuner.worker.nodes.cluster import Cluster
from tuner.worker.nodes.delivery import Delivery, Errand, RefusedError, Signs
from tuner.worker.nodes.errors import Closed, NodeFault, NodeLostError, disk_fault
from tuner.worker.nodes.names import pack, unpack
from tuner.worker.nodes.parcel import Arrival
from tuner.worker.nodes.relay import DOING, Taken
from tuner.worker.nodes.seats import Seat
from tuner.worker.nodes.study_files import Needed, read_by_all, read_for
from tuner.worker.process import Failure, Over, Trace
from tuner.worker.share import Share

_TICK = 0.2
_SEAT_SECONDS = 3600.0
"""Seconds after which a worker without a seat counts as lost."""


@dataclass(frozen=True)
class _Arrived:
    """A message of the worker with its files, which are not in place yet."""

    message: Message
    files: Arrival | None = None
    out_of_memory: bool = False


@dataclass(frozen=True)
class _Word:
    """A word for the worker, and what it reads then; None: nothing that it may not have."""

    message: object
    needed: Needed | None = None


@dataclass(frozen=True)
class _End:
    """The worker is lost; `text` has DOING where the phase belongs."""

    text: str
    out_of_memory: bool = False


class RayChannel:
    """A worker on a cluster; creating the object begins to start it."""

    def __init__(
        self, cluster: Cluster, errand: Errand, share: Share, key: int, above: int, urgent: bool
    ) -> None:
        """Begin to start a worker with `share`, on a node with more memory than `above` bytes.

        `key` is its number among all workers that were started; it may have a seat already. The
        others wait for the results of an `urgent` one, and one of them gives its seat for it.
        """
        self.connection, self._signal = Pipe(duplex=False)
        self.key = key
        self.seat: Seat | None = None
        self.loaded = False
        self._urgent = urgent
        self._cluster, self._errand, self._share, self._above = cluster, errand, share, above
        self._arrived: SimpleQueue[_Arrived | _End] = SimpleQueue()
        self._words: SimpleQueue[_Word | None] = SimpleQueue()
        self._own = Needed(())
        self._base_needed = False
        self._closed = threading.Event()
        self._end = _End(f"the worker was ended while {DOING}")
        self._out_of_memory = False
        self._delivery: Delivery | None = None
        self._alive = Signs(lambda: self._put(_Arrived(Idle())))
        self._thread = threading.Thread(target=self._run, name="tuner-node", daemon=True)
        self._thread.start()

    @property
    def node(self) -> str | None:
        """Name of the node that the worker is on; None until it has a seat."""
        return self.seat.node.host if self.seat else None

    def send(self, message: object) -> None:
        """Have a word sent to the worker, after the files that it needs."""
        errand, needed = self._errand, None
        if isinstance(message, Work):
            self._own = read_for(errand.config, errand.folder, message)
            needed = self._own if self._own != Needed(()) else None
        elif self._base_needed:
            base = read_by_all(errand.folder)
            needed = Needed((*base.files, *self._own.files), self._own.trials)
        self._base_needed = False
        self._words.put(_Word(message, None if errand.shared else needed))

    def recv(self) -> Message:
        """Return the next message, whose files are in place; raises EOFError at the end."""
        self.connection.recv_bytes()
        arrived = self._arrived.get()
        if isinstance(arrived, _End):
            self._end = arrived
            raise EOFError
        if arrived.files is not None and self._delivery is not None:
            self._delivery.sent |= arrived.files.place()
        self._out_of_memory = arrived.out_of_memory
        self._base_needed = isinstance(arrived.message, BaseNeeded)
        self.loaded = self.loaded or isinstance(arrived.message, Over)
        return arrived.message

    def memory_ran_out(self) -> bool:
        """Return True if the node's system killed a process for memory before the last failure."""
        return self._out_of_memory

    def wait(self) -> None:
        """Return at once: the node ends the worker."""

    def lost(self, doing: str) -> WorkerLostError:
        """Return the error with the cause of the worker's end."""
        return WorkerLostError(self._end.text.replace(DOING, doing), self._end.out_of_memory)

    def close(self) -> None:
        """End the worker; its node's seat is free when it is gone."""
        self._closed.set()
        self._words.put(None)
        self.connection.close()
        while not self._arrived.empty():
            _discard(self._arrived.get())

    def running(self) -> bool:
        """Return True until the worker has ended."""
        return self._thread.is_alive()

    def join(self, seconds: float) -> None:
        """Wait for the end of a closed channel."""
        self._thread.join(seconds)

    def _put(self, arrived: _Arrived | _End) -> None:
        if self._closed.is_set():
            _discard(arrived)
            return
        self._arrived.put(arrived)
        with contextlib.suppress(OSError):  # the channel was closed
            self._signal.send_bytes(b".")

    def _run(self) -> None:
        try:
            with self._ends_told():
                delivery = self._started()
                threading.Thread(target=self._speak, args=(delivery,), daemon=True).start()
                self._listen(delivery)
        finally:
            self._leave()
            self._words.put(None)
            self._signal.close()

    @contextlib.contextmanager
    def _ends_told(self) -> Iterator[None]:
        """Turn an error of a thread into a last message."""
        try:
            yield
        except Closed:
            pass
        except NodeLostError as error:
            if error.node_gone and self.seat is not None:
                self._cluster.seats.drop(self.seat.node)
            text = f"the worker{self._where()} was lost while {DOING} ({error})"
            self._put(_End(text, error.out_of_memory))
        except (NodeFault, TimeoutError) as error:
            if isinstance(error, NodeFault) and error.disk is not None:
                self._refuse(RefusedError(error.disk, disk=True))
            self._put(_End(f"the worker{self._where()} failed while {DOING} ({error})"))
        except Exception as error:
            self._put(_Arrived(Failure(error, Trace(""), ends=True)))

    def _where(self) -> str:
        return f" on {self.seat.node.host}" if self.seat else ""

    def _started(self) -> Delivery:
        """Return the way to a relay whose worker runs; nodes that cannot work are refused."""
        while True:
            self.seat = seat = self._wait_for_seat()
            relay = self._cluster.relay(seat)
            luggage = self._errand.luggage
            way = (self._cluster, luggage, relay, self._closed, self._alive)
            delivery = Delivery(*way, errand=self._errand)
            self._delivery = delivery
            try:
                delivery.start(seat, self._share)
                return delivery
            except NodeLostError as error:
                if not error.node_gone:
                    raise
                self._cluster.seats.drop(seat.node)  # no work is lost: try another node
                self._leave()
            except RefusedError as refusal:
                self._leave()
                self._refuse(refusal)

    def _refuse(self, refusal: RefusedError) -> None:
        """Use the node no more; the first time a warning says why."""
        assert self.seat is not None
        node = self.seat.node
        if self._cluster.seats.refuse(node, str(refusal), refusal.disk):
            self._put(_Arrived(Warned(f"{node.host} cannot work for this study: {refusal}")))

    def _leave(self) -> None:
        """End the relay, if there is one, and give its seat back."""
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            self._cluster.dismiss(delivery.relay)
        self._cluster.seats.leave(self.key)

    def _wait_for_seat(self) -> Seat:
        began, seats = time.monotonic(), self._cluster.seats
        while not self._closed.is_set():
            seat = seats.wait(self.key, self._above, _TICK, self._urgent)
            if seat is not None:
                return seat
            seats.require_one("work for this study")
            if time.monotonic() - began > _SEAT_SECONDS:
                raise TimeoutError("no node of the cluster was free for an hour")
            self._cluster.require()
            self._tell_notes()
            self._alive()
        raise Closed

    def _speak(self, delivery: Delivery) -> None:
        """Send words, each after the files that it needs, until the channel is closed."""
        with self._ends_told():
            while (word := self._words.get()) is not None:
                database = delivery.send(word.needed) if word.needed else None
                data = pack(word.message, self._errand.names)
                delivery.call(delivery.relay.tell, data, database)

    def _listen(self, delivery: Delivery) -> None:
        """Take messages until the worker's end."""
        while True:
            self._tell_notes()
            taken: Taken | None = delivery.call(delivery.relay.take)
            if self._cluster.seats.gives_way(self.key):
                self._put(_End(f"the worker{self._where()} gave way to that of the base"))
                return
            if taken is None:
                continue
            if taken.message is None:
                self._put(_End(f"{taken.lost}{self._where()}", taken.out_of_memory))
                return
            message: Any = unpack(taken.message, self._errand.names)
            self._require_disk(message)
            files = delivery.fetch(taken.files, f"node{self._share.place}")
            self._put(_Arrived(message, files, taken.out_of_memory))

    def _require_disk(self, message: Any) -> None:
        """Raise NodeFault for a failure for the node's own disk: other nodes have room."""
        if isinstance(message, Failure) and not self._errand.shared:
            fault = disk_fault(message.error)
            if fault is not None:
                raise NodeFault(fault.partition(";")[0], disk=fault)

    def _tell_notes(self) -> None:
        while not self._cluster.notes.empty():
            with contextlib.suppress(Exception):
                self._put(_Arrived(Warned(self._cluster.notes.get_nowait())))


def _discard(arrived: _Arrived | _End) -> None:
    if isinstance(arrived, _Arrived) and arrived.files is not None:
        arrived.files.discard()
