"""The nodes of a Ray cluster as the host of a study's workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tuner.data import TrainingSets
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.worker.nodes.channel import RayChannel
from tuner.worker.nodes.cluster import Cluster
from tuner.worker.nodes.delivery import Errand
from tuner.worker.nodes.luggage import Luggage, collect
from tuner.worker.share import Share

_TO_END = 8.0
"""Seconds that all workers together have to end; a stop may take 10 in all."""


@dataclass
class RayHost:
    """The nodes of a cluster as the host of a study's workers."""

    cluster: Cluster
    errand: Errand
    _channels: list[RayChannel] = field(default_factory=list)
    _above: dict[int, int] = field(default_factory=dict)
    _last: dict[int, RayChannel] = field(default_factory=dict)
    _claimed: dict[int, int] = field(default_factory=dict)
    _count: int = 0
    _base_made: bool = False

    def open(self, share: Share) -> RayChannel:
        """Begin to start a worker on a node."""
        key = self._claimed.pop(share.place, None)
        above = self._above.pop(share.place, 0)
        key = self._next() if key is None else key
        last = self._last.get(share.place)
        if share.place == 0 and last is not None and last.loaded:
            self._base_made = True  # nobody waits for the first worker any more
        urgent = share.place == 0 and not self._base_made
        channel = RayChannel(self.cluster, self.errand, share, key, above, urgent)
        self._channels = [each for each in self._channels if each.running()]
        self._channels.append(channel)
        self._last[share.place] = channel
        return channel

    def claim(self, place: int) -> bool:
        """Take a seat for the worker of `place`, which is not started; False if there is none."""
        if place in self._claimed:
            return True
        key = self._next()
        if not self.cluster.seats.claim(key):
            return False
        self._claimed[place] = key
        return True

    def wanted(self, place: int) -> bool:
        """Return True if another worker waits for the seat of the worker of `place`."""
        return place in self._last and self.cluster.seats.wanted(self._last[place].key)

    def outgrow(self, place: int) -> bool:
        """Have the next worker of `place` started on a node with more memory than the last one.

        Returns False if no node may have more.
        """
        seat = self._last[place].seat if place in self._last else None
        memory = self.cluster.seats.larger(seat.node) if seat else None
        if memory is None:
            return False
        self._above[place] = memory
        return True

    def _next(self) -> int:
        self._count += 1
        return self._count

    def close(self) -> None:
        """Wait until the workers have ended, for a moment."""
        for channel in self._channels:
            channel.close()
        until = time.monotonic() + _TO_END
        for channel in self._channels:
            channel.join(max(0.1, until - time.monotonic()))


@contextmanager
def ray_host(
    cluster: Cluster, config: StudyConfig, folder: StudyFolder, data: TrainingSets
) -> Iterator[RayHost]:
    """Prepare a study's luggage for the nodes of `cluster`; wait for its workers' end."""
    shared = cluster.options.shared
    luggage = Luggage() if shared else collect(config, data)
    host = RayHost(cluster, Errand(config, folder, data, luggage, shared))
    try:
        yield host
    finally:
        host.close()
