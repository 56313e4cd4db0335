"""Which worker of a study is on which node of a cluster: seats, taken and given back.

A seat is a GPU (or a share of one), on a cluster without GPUs a core. Nodes come and go, and a node
that cannot work for the study is refused. Nothing here knows Ray.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tuner.errors import DiskError, TunerError
from tuner.worker.share import Part


@dataclass(frozen=True)
class Node:
    """A living node: its name for people, its seats, and whether they are GPUs."""

    id: str
    host: str
    seats: int
    gpus: bool = False


@dataclass(frozen=True)
class Seat:
    """The seat of a worker on a node; `part` is the worker's part of that machine."""

    node: Node
    part: Part


def node_seats(
    resources: Mapping[str, float], needed_bytes: int, gpu_share: float, gpus: bool
) -> int:
    """Return the seats of a node with these resources of Ray.

    With `gpus`, a cluster that has any, one for each share of a GPU; else one for each core, as far
    as the memory bears them, `needed_bytes` each.
    """
    if gpus:
        return int(resources.get("GPU", 0.0) / gpu_share + 1e-6)
    cores = int(resources.get("CPU", 0.0))
    room = int(resources.get("memory", 0.0)) // max(1, needed_bytes)
    return min(cores, max(1, room))


@dataclass
class Seats:
    """The seats of a cluster: at most `most` are taken at a time. Threads may share it."""

    most: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    _nodes: dict[str, Node] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)
    _disks: set[str] = field(default_factory=set)
    _memory: dict[str, int] = field(default_factory=dict)
    _taken: dict[int, Seat] = field(default_factory=dict)
    _waiting: dict[int, int] = field(default_factory=dict)
    _urgent: set[int] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)

    def update(self, nodes: Iterable[Node]) -> None:
        """Replace the living nodes."""
        with self.changed:
            self._nodes = {node.id: node for node in nodes if node.id not in self._gone}
            self.changed.notify_all()

    def drop(self, node: Node) -> None:
        """Forget a node that is gone; it may count as living for a while."""
        with self.changed:
            self._gone.add(node.id)
            self._nodes.pop(node.id, None)
            self.changed.notify_all()

    def refuse(self, node: Node, reason: str, disk: bool = False) -> bool:
        """Use no seat of a node any more; return False if it was refused before.

        `disk` tells that its disk is the reason.
        """
        with self.changed:
            new = node.id not in self._refused
            self._refused.setdefault(node.id, reason)
            self._disks |= {node.id} if new and disk else set()
            self.changed.notify_all()
            return new

    def note_memory(self, node: Node, memory: int) -> None:
        """Note the bytes that a seat of a node has: its GPU's, without one the machine's."""
        with self.changed:
            self._memory[node.id] = memory

    def total(self) -> int:
        """Return how many workers can have a seat now."""
        with self.changed:
            return min(self.most, sum(node.seats for node in self._usable()))

    def require_one(self, to_do: str) -> None:
        """Raise TunerError if there are nodes with seats, and all of them are refused.

        `to_do` says what none of them can do. A DiskError if that is for their disks only.
        """
        with self.changed:
            keys = [node.id for node in self._nodes.values() if node.seats]
            if not keys or any(key not in self._refused for key in keys):
                return
            reasons = "; ".join(dict.fromkeys(self._refused[key] for key in keys))
            kind = DiskError if self._disks.issuperset(keys) else TunerError
            raise kind(f"no node of the cluster can {to_do}: {reasons}")

    def claim(self, worker: int, above: int = 0) -> bool:
        """Take a seat for a worker that has none; return False if there is none for it now.

        A worker that was refused one before goes first. `above` asks for more memory than that,
        as long as a node may have more.
        """
        with self.changed:
            if worker in self._taken:
                return True
            others = [other for other in self._waiting if other != worker]
            seat = None if len(others) >= self._free() else self._find(above)
            if seat is None:
                return False
            self._waiting.pop(worker, None)
            self._taken[worker] = seat
            return True

    def wait(self, worker: int, above: int, seconds: float, urgent: bool = False) -> Seat | None:
        """Return the worker's seat, or take one as soon as there is one; None after `seconds`.

        Others wait for the results of an `urgent` worker: one of them has to give way for it.
        """
        with self.changed:
            self._waiting[worker] = above
            self._urgent |= {worker} if urgent else set()
            self.changed.wait_for(lambda: self._sit(worker, above), seconds)
            return self._taken.get(worker)

    def leave(self, worker: int) -> None:
        """Give back the worker's seat, if it has one, or its wish for one."""
        with self.changed:
            self._taken.pop(worker, None)
            self._waiting.pop(worker, None)
            self._urgent.discard(worker)
            self.changed.notify_all()

    def gives_way(self, worker: int) -> bool:
        """Return True for the worker that has to give its seat to an urgent one: the latest."""
        with self.changed:
            urgent = self._urgent & self._waiting.keys()
            return bool(urgent) and self._free() <= 0 and worker == max(self._taken, default=None)

    def wanted(self, worker: int) -> bool:
        """Return True if another worker waits for a seat that this one could give back."""
        with self.changed:
            if worker not in self._taken:
                return False
            memory = self._memory.get(self._taken[worker].node.id) or 0
            waiting = self._waiting.values()
            return any(
                above == 0 or memory > above or not self._may_have(above) for above in waiting
            )

    def larger(self, node: Node) -> int | None:
        """Return the memory of a node's seats if another node may have more, else None."""
        with self.changed:
            own = self._memory.get(node.id)
            return own if own is not None and self._may_have(own) else None

    def _may_have(self, above: int) -> bool:
        """Return True if a usable node has, or may have, more memory than `above`."""
        known = [self._memory.get(node.id) for node in self._usable() if node.seats]
        return any(memory is None or memory > above for memory in known)

    def _usable(self) -> list[Node]:
        return [node for node in self._nodes.values() if node.id not in self._refused]

    def _free(self) -> int:
        taken = [seat for seat in self._taken.values() if seat.node.id in self._nodes]
        total = sum(node.seats for node in self._usable())
        return min(self.most, total) - len(taken)

    def _sit(self, worker: int, above: int) -> bool:
        if worker not in self._taken and self._free() > 0 and (seat := self._find(above)):
            self._taken[worker] = seat
        if worker in self._taken:
            self._waiting.pop(worker, None)
            return True
        return False

    def _find(self, above: int) -> Seat | None:
        """Return a free seat, on the node with the fewest taken ones."""
        if self._free() <= 0:
            return None
        above = above if self._may_have(above) else 0
        best: Seat | None = None
        fewest = -1
        for node in self._usable():
            places = {seat.part.place for seat in self._taken.values() if seat.node.id == node.id}
            memory = self._memory.get(node.id)
            if len(places) >= node.seats or (memory is not None and memory <= above):
                continue
            if best is None or len(places) < fewest:
                place = min(set(range(node.seats)) - places)
                best, fewest = Seat(node, Part(place, node.seats)), len(places)
        return best
