"""A Ray cluster: connect to it, follow its nodes, start a relay on a node and call it.

Its actors belong to this process: they end with it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from tuner.text import counted
from tuner.worker.count import MOST_WORKERS
from tuner.worker.nodes.address import RayOptions, answers, connect, head_address
from tuner.worker.nodes.errors import (
    Closed,
    ClusterLostError,
    NodeFault,
    NodeLostError,
    translated,
)
from tuner.worker.nodes.relay import Relay
from tuner.worker.nodes.seats import Node, Seat, Seats, node_seats

_LOOK = 1.0
"""Seconds between two looks at the cluster's nodes."""
_HEAD_SECONDS = 25.0
"""Seconds for which the cluster's head may be away. After a minute Ray ends this process."""
_TICK = 0.2
_TO_CLOSE = 5.0
"""Seconds within which a relay has to end its worker before it is killed."""
_THREADS = 8
"""Calls that a relay answers at a time: one waits for a message."""


@dataclass
class Cluster:
    """A connection to a cluster; threads may share it."""

    options: RayOptions
    seats: Seats
    needed_bytes: int
    notes: SimpleQueue[str] = field(default_factory=SimpleQueue)
    lost: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _known: dict[str, Node] = field(default_factory=dict)

    def relay(self, seat: Seat, kind: type[Relay] = Relay) -> Any:
        """Return the handle of a new relay on the seat's node, which may not have started yet."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        gpus = self.options.gpu_share if seat.node.gpus else 0
        actor = ray.remote(kind).options(
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
        error there, NodeLostError if the actor or its node is gone, ClusterLostError once there is
        no connection to the cluster.
        """
        import ray

        self.require()
        began = time.monotonic()
        with self._faults():
            result = method.remote(*arguments)
            while not ray.wait([result], timeout=_TICK)[0]:
                if closed.is_set():
                    raise Closed
                self.require()
                if limit is not None and time.monotonic() - began > limit:
                    raise TimeoutError
            return ray.get(result)

    def require(self) -> None:
        """Raise ClusterLostError if the cluster is lost."""
        if self.lost.is_set():
            raise self._lost_error()

    def _lost_error(self) -> ClusterLostError:
        return ClusterLostError(
            f"the connection to the cluster {self.options.address} is lost; when it is there "
            "again, run the same command again, it continues where it stopped"
        )

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Raise Ray's errors as this module's; ClusterLostError once there is no connection."""
        import ray

        try:
            with translated():
                yield
        except (Closed, NodeFault, NodeLostError, ClusterLostError, TimeoutError):
            raise
        except Exception as error:
            # A client has many errors for a connection that is gone, those of gRPC among them.
            client = self.options.address.startswith("ray://")
            if ray.is_initialized() and not client and not isinstance(error, ConnectionError):
                raise
            raise self._lost_error() from error

    def dismiss(self, relay: Any) -> None:
        """End a relay and its worker process; it may be gone already."""
        import ray

        if self.lost.is_set():  # it ends with the connection
            return
        with contextlib.suppress(Exception):
            ray.get(relay.close.remote(), timeout=_TO_CLOSE)
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

    def watch_head(self) -> None:
        """Note when the cluster's head has been away for too long: calls of Ray wait for it."""
        head, seen = head_address(self.options.address), time.monotonic()
        while head is not None and not self._ended.wait(_LOOK):
            if answers(head):
                seen = time.monotonic()
            elif time.monotonic() - seen > _HEAD_SECONDS:
                self.lost.set()
                return

    def close(self) -> None:
        """End the connection, and a cluster that was started for it."""
        import ray

        self._ended.set()
        if self.lost.is_set():  # Ray would wait for the head, and then end this process
            return
        with contextlib.suppress(Exception):
            ray.shutdown()


def shares(cluster: Cluster | None) -> bool:
    """Return True if the workers are on a cluster whose nodes see the study's folder."""
    return cluster is not None and cluster.options.shared


@contextlib.contextmanager
def open_cluster(options: RayOptions, workers: int | None, needed_bytes: int) -> Iterator[Cluster]:
    """Connect to a cluster for up to `workers` workers (None: as many as it has seats).

    `local` starts one on this machine and stops it afterwards. Each worker needs `needed_bytes` of
    memory. Raises ConfigError without Ray, and for an address at which there is no cluster.
    """
    connect(options)
    cluster = Cluster(options, Seats(workers or MOST_WORKERS), needed_bytes)
    try:
        cluster.look()
        for watch in (cluster.watch, cluster.watch_head):
            threading.Thread(target=watch, name="tuner-cluster", daemon=True).start()
        yield cluster
    finally:
        cluster.close()
