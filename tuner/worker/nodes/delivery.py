"""What travels between the study's process and a node: luggage once, then files with each word."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tuner.data import TrainingSets
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.storage.extract import extract
from tuner.text import byte_size
from tuner.worker.nodes.cluster import Cluster
from tuner.worker.nodes.errors import NodeFault
from tuner.worker.nodes.luggage import Luggage, parts, without_listing
from tuner.worker.nodes.names import Names, pack
from tuner.worker.nodes.parcel import Arrival, Sent, State, batches, read_parts, state
from tuner.worker.nodes.relay import Load, versions
from tuner.worker.nodes.seats import Seat
from tuner.worker.nodes.study_files import Needed, read_by_all
from tuner.worker.share import Share

_SPARE = 2**29
"""Bytes that a node's disk has to have free beside the luggage, for the files of a trial."""

_START_SECONDS = 120.0
"""Seconds after which a node that starts no actor is tried no longer."""

_SIGN = 10.0


class RefusedError(Exception):
    """The node cannot work for this study; the message has the reason.

    `disk` is True if its disk is full or cannot be written.
    """

    def __init__(self, message: str, disk: bool = False) -> None:
        """Create the error with its message."""
        super().__init__(message)
        self.disk = disk


@contextlib.contextmanager
def disk_refused() -> Iterator[None]:
    """Raise RefusedError for a fault of the node's disk."""
    try:
        yield
    except NodeFault as fault:
        if fault.disk is None:
            raise
        raise RefusedError(fault.disk, disk=True) from fault


@dataclass(frozen=True)
class Errand:
    """What the workers of a study on a cluster are sent for; with `shared` the disk is one."""

    config: StudyConfig
    folder: StudyFolder
    data: TrainingSets
    luggage: Luggage
    shared: bool = False

    @property
    def names(self) -> Names:
        """The names of this machine's paths."""
        return Names(self.folder.root, self.luggage.known)


@dataclass
class Way:
    """The way to one relay; `alive` is called while files travel."""

    cluster: Cluster
    luggage: Luggage
    relay: Any
    closed: threading.Event
    alive: Callable[[], None]

    @property
    def keeps_files(self) -> bool:
        """True if the node needs room for files that are made there."""
        return False

    def call(self, method: Any, *arguments: object, limit: float | None = None) -> Any:
        """Call a method of the relay; see `Cluster.call`."""
        return self.cluster.call(method, arguments, self.closed, limit)

    def greet(self, seat: Seat) -> None:
        """Send the luggage that the node lacks; raises RefusedError for one that cannot work."""
        hello = self._hello()
        if refusal := other_versions(hello["versions"], versions()):
            raise RefusedError(refusal)
        self.cluster.seats.note_memory(seat.node, hello["memory"])
        if self.luggage.trees or self.keeps_files:
            self._send_luggage(seat, hello)

    def _hello(self) -> dict[str, Any]:
        try:
            hello: dict[str, Any] = self.call(self.relay.hello, limit=_START_SECONDS)
        except TimeoutError as error:
            raise RefusedError(f"it started no worker in {_START_SECONDS:.0f} s") from error
        except NodeFault as fault:
            if fault.missing is None:
                raise
            raise RefusedError(
                f"the package {fault.missing} is not installed there; install tuner as here"
            ) from fault
        return hello

    def _send_luggage(self, seat: Seat, hello: dict[str, Any]) -> None:
        luggage = self.luggage
        items = luggage.items
        # What another worker on the node is sent now need not go twice.
        with self.cluster.sending(seat.node, self.closed):
            absent = self.call(self.relay.missing, list(items.values()))
            needed = sum(items[sha256].size for sha256 in absent)
            if refusal := no_room(hello["folder"], hello["free"], needed):
                raise RefusedError(refusal, disk=True)
            for sha256 in absent:
                for offset, part in parts(items[sha256], luggage.sources[sha256]):
                    self.call(self.relay.luggage, items[sha256], offset, part)
                    self.alive()


@dataclass
class Delivery(Way):
    """The way to the relay of a worker, and back.

    `sent` has the states of the files of the study folder that the node has.
    """

    errand: Errand
    sent: dict[str, State] = field(default_factory=dict)
    _database: bytes | None = None

    @property
    def keeps_files(self) -> bool:
        """True unless the study's folder is on a disk that all nodes share."""
        return not self.errand.shared

    def start(self, seat: Seat, share: Share) -> None:
        """Have the relay start its worker; raises RefusedError for a node that cannot work."""
        errand = self.errand
        with disk_refused():
            self.greet(seat)
            share = replace(share, among=max(1, self.cluster.seats.total()), part=seat.part)
            order = (errand.config, without_listing(errand.data), share)
            load = Load(
                errand.folder.name,
                pack(order, errand.names),
                errand.luggage.trees,
                errand.folder.root.resolve() if errand.shared else None,
                errand.folder.lock.read_text(encoding="utf-8") if errand.shared else "",
            )
            if reason := self.call(self.relay.prepare, load):
                raise RefusedError(reason)
            database = None if errand.shared else self.send(read_by_all(errand.folder))
            self.call(self.relay.start, load, database)

    def send(self, needed: Needed) -> bytes | None:
        """Send the files that the worker lacks; return the rows if it has others, else None."""
        folder = self.errand.folder
        wanted = []
        for path in needed.files:
            now, name = state(path), path.relative_to(folder.root).as_posix()
            if now is not None and self.sent.get(name) != now:
                self.sent[name] = now
                wanted.append(Sent(name, now[0]))
        for batch in batches(wanted):
            self.call(self.relay.write, batch, read_parts(folder.root, batch))
            self.alive()
        database = extract(folder.results_db, needed.trials)
        if database == self._database:
            return None
        self._database = database
        return database

    def fetch(self, files: Sequence[Sent], mark: str) -> Arrival | None:
        """Fetch files of the worker's study folder into the study's; they still have to be placed.

        Returns None if there are none.
        """
        if not files:
            return None
        arrival = Arrival(self.errand.folder, mark)
        try:
            for batch in batches(files):
                arrival.write(batch, self.call(self.relay.read, batch))
                self.alive()
        except BaseException:
            arrival.discard()
            raise
        return arrival


class Signs:
    """Tells now and then that a transfer is going on; `tell` is called at most every 10 s."""

    def __init__(self, tell: Callable[[], None]) -> None:
        """Begin now."""
        self._tell, self._last = tell, time.monotonic()

    def __call__(self) -> None:
        """Tell it, unless it was told a moment ago."""
        if time.monotonic() - self._last > _SIGN:
            self._last = time.monotonic()
            self._tell()


def other_versions(theirs: dict[str, str], ours: dict[str, str]) -> str | None:
    """Return in words what differs between the versions of two machines; None if they are alike."""
    unlike = [
        f"{name} {theirs.get(name, 'is missing')} there and {version} here"
        for name, version in ours.items()
        if theirs.get(name) != version
    ]
    return f"{', '.join(unlike)}; install the same versions on both" if unlike else None


def no_room(folder: str, free: int, needed: int) -> str | None:
    """Return in words that a node's disk has no room for the luggage; None if it has."""
    if free >= needed + _SPARE:
        return None
    return (
        f"{folder} has {byte_size(free)} free, and {byte_size(needed + _SPARE)} are needed; "
        "free some, or set TUNER_HOME there to another disk"
    )
