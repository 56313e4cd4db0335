"""A Ray cluster: connect to it, follow its nodes, start a relay on a node and call it.

This is the only file that calls Ray. Its actors belong to this process: they end with it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from tuner.errors import ConfigError, TunerError
from tuner.text import counted, show
from tuner.worker.count import MOST_WORKERS, free_bytes, usable_cores
from tuner.worker.relay import Relay
from tuner.worker.seats import Node, Seat, Seats, node_seats

HOW = (
    "allowed: local (this machine), auto (the cluster that this machine belongs to), HOST:PORT of "
    "a cluster's head, or ray://HOST:10001 from outside of it"
)

_LOOK = 1.0
"""Seconds between two looks at the cluster's nodes."""
_REACH = 5.0
"""Seconds within which an address has to answer."""
_TICK = 0.2
_THREADS = 8
"""Calls that a relay answers at a time: one waits for a message."""
_STORE_BYTES = 512 * 2**20
"""Object store of a cluster on this machine: files travel in parts of a few megabytes."""


@dataclass(frozen=True)
class RayOptions:
    """Where the workers of a command are: a cluster's address, and whether the disk is shared.

    `gpu_share` is the part of a GPU that a worker takes, above 0 and up to 1.
    """

    address: str
    shared: bool = False
    gpu_share: float = 1.0


class Closed(Exception):
    """What a thread waited for is not wanted any more."""


class NodeFault(Exception):
    """A call raised an error on the node; `missing` names a package that it lacks.

    `full` is True if its disk is full.
    """

    def __init__(self, message: str, missing: str | None = None, full: bool = False) -> None:
        """Create the error with its message."""
        super().__init__(message)
        self.missing, self.full = missing, full


class ClusterLostError(TunerError):
    """The connection to the cluster is gone."""


class NodeLostError(Exception):
    """The actor or its node is gone; `out_of_memory` is True if Ray ended it for memory."""

    def __init__(self, message: str, out_of_memory: bool = False) -> None:
        """Create the error with its message."""
        super().__init__(message)
        self.out_of_memory = out_of_memory


@dataclass
class Cluster:
    """A connection to a cluster; threads may share it."""

    options: RayOptions
    seats: Seats
    needed_bytes: int
    notes: SimpleQueue[str] = field(default_factory=SimpleQueue)
    _ended: threading.Event = field(default_factory=threading.Event)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _known: dict[str, Node] = field(default_factory=dict)

    def relay(self, seat: Seat) -> Any:
        """Return the handle of a new relay on the seat's node, which may not have started yet."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        gpus = self.options.gpu_share if seat.node.gpus else 0
        actor = ray.remote(Relay).options(
            num_gpus=gpus,
            num_cpus=0 if gpus else 1,
            max_concurrency=_THREADS,
            max_restarts=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(seat.node.id, soft=False),
        )
        with self._faults():
            return actor.remote()

    def call(
        self,
        method: Any,
        arguments: Sequence[object],
        closed: threading.Event,
        limit: float | None = None,
    ) -> Any:
        """Call a method of a relay and return its result.

        Raises Closed once `closed` is set, TimeoutError after `limit` seconds, NodeFault for an
        error there, NodeLostError if the actor or its node is gone.
        """
        import ray

        began = time.monotonic()
        with self._faults():
            result = method.remote(*arguments)
            while not ray.wait([result], timeout=_TICK)[0]:
                if closed.is_set():
                    raise Closed
                if limit is not None and time.monotonic() - began > limit:
                    raise TimeoutError
            return ray.get(result)

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Raise Ray's errors as this module's; ClusterLostError once there is no connection."""
        import ray

        try:
            with _faults():
                yield
        except (ConnectionError, RuntimeError) as error:
            if ray.is_initialized() and not isinstance(error, ConnectionError):
                raise
            raise ClusterLostError(
                f"the connection to the cluster {self.options.address} is lost; when it is there "
                "again, run the same command again, it continues where it stopped"
            ) from error

    def dismiss(self, relay: Any) -> None:
        """End a relay and its worker process; it may be gone already."""
        import ray

        with contextlib.suppress(Exception):
            ray.get(relay.close.remote(), timeout=_REACH)
        with contextlib.suppress(Exception):
            ray.kill(relay, no_restart=True)

    @contextlib.contextmanager
    def sending(self, node: Node, closed: threading.Event) -> Iterator[None]:
        """Send luggage to a node one after the other; raises Closed as `call` does."""
        lock = self._locks.setdefault(node.id, threading.Lock())
        while not lock.acquire(timeout=_TICK):
            if closed.is_set():
                raise Closed
        try:
            yield
        finally:
            lock.release()

    def look(self) -> None:
        """Read the living nodes; a note tells of those that came or went."""
        import ray

        living = [entry for entry in ray.nodes() if entry.get("Alive")]
        resources = [entry["Resources"] for entry in living]
        gpus = any(each.get("GPU", 0) > 0 for each in resources)
        nodes = {}
        for entry, has in zip(living, resources, strict=True):
            count = node_seats(has, self.needed_bytes, self.options.gpu_share, gpus)
            host = f"{entry['NodeManagerHostname']} ({entry['NodeManagerAddress']})"
            nodes[entry["NodeID"]] = Node(entry["NodeID"], host, count, gpus)
        for key in nodes.keys() - self._known.keys() if self._known else ():
            self.notes.put(f"the cluster has another node: {nodes[key].host}")
        for key in self._known.keys() - nodes.keys():
            self.notes.put(f"the cluster lost the node {self._known[key].host}")
        self._known = nodes
        self.seats.update(nodes.values())

    @property
    def line(self) -> str:
        """The cluster in words: its nodes, and how many workers it has now."""
        count = self.seats.total()
        unit = "GPU" if any(node.gpus for node in self._known.values()) else "core"
        share = self.options.gpu_share
        unit = f"{share:g} of a GPU" if unit == "GPU" and share < 1 else unit
        nodes = counted(len(self._known), "node")
        return f"Ray: {nodes}, {counted(count, 'worker')}, each has one {unit}".replace(
            "one 0", "0"
        )

    def watch(self) -> None:
        """Follow the nodes until `close`."""
        while not self._ended.wait(_LOOK):
            with contextlib.suppress(Exception):  # the connection is gone: the workers tell it
                self.look()

    def close(self) -> None:
        """End the connection, and a cluster that was started for it."""
        import ray

        self._ended.set()
        with contextlib.suppress(Exception):
            ray.shutdown()


@contextlib.contextmanager
def open_cluster(options: RayOptions, workers: int | None, needed_bytes: int) -> Iterator[Cluster]:
    """Connect to a cluster for up to `workers` workers (None: as many as it has seats).

    `local` starts one on this machine and stops it afterwards. Each worker needs `needed_bytes` of
    memory. Raises ConfigError without Ray, and for an address at which there is no cluster.
    """
    _require(options)
    with _signals_kept():
        _connect(options.address)
    cluster = Cluster(options, Seats(workers or MOST_WORKERS), needed_bytes)
    try:
        cluster.look()
        threading.Thread(target=cluster.watch, name="tuner-cluster", daemon=True).start()
        yield cluster
    finally:
        cluster.close()


def _require(options: RayOptions) -> None:
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "--ray needs Ray, which is not installed: pip install 'tuner[ray]', or leave --ray out"
        )
    if options.address in ("local", "auto"):
        return
    client = options.address.startswith("ray://")
    url = urlsplit(options.address if client else f"//{options.address}")
    try:
        place = (url.hostname, url.port)
    except ValueError:
        place = (None, None)
    if not all(place) or url.path or (not client and "://" in options.address):
        raise ConfigError(f"--ray {show(options.address)} is no address of a cluster; {HOW}")
    try:
        socket.create_connection(place, timeout=_REACH).close()  # type: ignore[arg-type]
    except OSError as error:
        raise ConfigError(
            f"--ray {options.address}: nothing answers there ({error.strerror or error}); start "
            "the cluster's head with `ray start --head`, or give its address"
        ) from error


def _connect(address: str) -> None:
    """Connect to the cluster at `address`; raises ConfigError if Ray cannot."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent about anybody's use
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        os.environ.setdefault("RAY_worker_niceness", "0")  # else beside other programs it starves
        options |= {
            "num_cpus": usable_cores(),
            "_memory": free_bytes(),
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    try:
        ray.init(address, **options)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[:3]) or type(error).__name__
        if address == "auto" and isinstance(error, ConnectionError):
            reason = "no cluster runs on this machine"
        raise ConfigError(f"--ray {address}: {reason}; {HOW}") from error


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep this process's own handlers of signals, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """Raise Ray's errors as this module's."""
    from ray import exceptions

    try:
        yield
    except exceptions.RayTaskError as error:
        raise _fault(error) from error
    except exceptions.RayActorError as error:
        missing = _missing_package(str(error))
        if missing:
            raise NodeFault(str(error), missing) from error
        text = " ".join(str(error).split())
        memory = "memory" in text.lower() and "oom" in text.lower()
        raise NodeLostError(_short(text), memory) from error
    except exceptions.RayError as error:
        memory = isinstance(error, exceptions.OutOfMemoryError)
        raise NodeLostError(_short(" ".join(str(error).split())), memory) from error


def _fault(error: Any) -> NodeFault:
    from tuner.storage.files import FULL

    cause = getattr(error, "cause", error)
    text = f"{type(cause).__name__}: {cause}"
    full = isinstance(cause, OSError) and cause.errno in FULL
    return NodeFault(_short(text), _missing_package(str(error)), full)


def _missing_package(text: str) -> str | None:
    word = "No module named "
    if word not in text:
        return None
    return text.partition(word)[2].splitlines()[0].strip(" '\".)")


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."
