"""Judges on the nodes of a Ray cluster, in the place of judge processes on this machine."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from metrics.contract import OPTIONAL_MODELS, Domain, JudgeSettings, Sample, ScoredSample
from tuner.errors import JudgeLostError, TunerError
from tuner.judging.pool import JudgePool
from tuner.terminal import own_warnings, say
from tuner.worker.nodes.cluster import Cluster
from tuner.worker.nodes.delivery import RefusedError, Way, disk_refused
from tuner.worker.nodes.errors import Closed, NodeFault, NodeLostError
from tuner.worker.nodes.luggage import Luggage, Tree, collect_models, laid_out, luggage_folder
from tuner.worker.nodes.names import Name, Names, pack, unpack
from tuner.worker.nodes.relay import Relay

_MODELS = ("gender_model", "person_model", "copy_model", "identity_model", *OPTIONAL_MODELS)
_MOST_LOSSES = 3
"""A picture whose judges were lost so often in a row is not tried again."""
_SEAT_SECONDS = 600.0


@dataclass(frozen=True)
class JudgeOrder:
    """How the judges were opened here: what `tuner.judging.open_judges` was given."""

    names_sex: bool
    gender_model: str | None
    person_model: str | None
    domain: Domain
    optional: Mapping[str, str | None]
    thresholds: Mapping[str, float] | None


class JudgeRelay(Relay):
    """Judges on a node."""

    def open_judges(self, trees: Sequence[Tree], order: bytes, models: Sequence[str]) -> str | None:
        """Open the judges; return what is wrong if they have other `models` than here."""
        from tuner.judging import open_judges
        from tuner.judging.pool import use_one_core

        own = Path(tempfile.mkdtemp(prefix="tuner-judges-"))
        known: dict[str, Name] = {}
        for tree in trees:
            known |= laid_out(tree, luggage_folder(), own)
        self._own = own
        arguments: Any = unpack(order, Names(own / "study", known))
        self._opened = contextlib.ExitStack()
        use_one_core()
        warned: list[str] = []
        with own_warnings(warned.append):
            self._judges = self._opened.enter_context(open_judges(*arguments))
        if (found := chosen_models(self._judges.settings)) != list(models):
            lacks = ", ".join(sorted({*models} - {*found})) or "none"
            return f"it lacks the judges' models that are used here ({lacks}); {' '.join(warned)}"
        return None

    def judge(self, samples: Sequence[Sample]) -> tuple[list[ScoredSample], tuple[str, ...]]:
        """Score pictures; return them without their pixels, and the warnings."""
        import metrics

        warned: list[str] = []
        with own_warnings(warned.append):
            scored = metrics.score(samples, self._judges)
        return [
            replace(each, sample=replace(each.sample, image=each.sample.image[:0]))
            for each in scored
        ], tuple(warned)


def chosen_models(settings: JudgeSettings) -> list[str]:
    """Return the names of the models that the judges have."""
    return [name for name in _MODELS if getattr(settings, name) is not None]


class NodePool(JudgePool):
    """Judges on the nodes of a cluster; those that are lost are replaced on others."""

    def __init__(self, cluster: Cluster, order: JudgeOrder, models: Sequence[str]) -> None:
        """Begin without judges: each of the cluster's seats gets its own with its first picture."""
        self.count = max(1, cluster.seats.total())
        self._cluster, self._models, self._closed = cluster, models, threading.Event()
        named = [order.gender_model, order.person_model, *order.optional.values()]
        self._luggage: Luggage = collect_models(named)
        arguments = tuple(vars(order).values())
        self._order = pack(arguments, Names(Path("/no/study"), self._luggage.known))
        self._warned: deque[str] = deque()
        self._threads = ThreadPoolExecutor(self.count, "tuner-judge")
        self._slots: SimpleQueue[tuple[int, Way | None]] = SimpleQueue()
        for key in range(self.count):
            self._slots.put((key, None))

    def _score(self, samples: Sequence[Sample], settings: JudgeSettings) -> list[ScoredSample]:
        key, way = self._slots.get()
        try:
            for _ in range(_MOST_LOSSES):
                try:
                    way = way or self._opened(key)
                    return self._judged(way, samples)
                except NodeLostError as error:
                    lost = error
                    self._cluster.seats.leave(key)
                    way = None
            raise JudgeLostError(f"judges were lost {_MOST_LOSSES} times in a row ({lost})")
        except NodeFault as error:
            raise TunerError(f"a node could not judge a picture: {error}") from error
        finally:
            self._slots.put((key, way))

    def _judged(self, way: Way, samples: Sequence[Sample]) -> list[ScoredSample]:
        answer = way.call(way.relay.judge, [replace(each, path=None) for each in samples])
        scored, warned = answer
        self._warned.extend(warned)
        pairs = zip(samples, scored, strict=True)
        return [ScoredSample(sample, each.scores, each.features) for sample, each in pairs]

    def _opened(self, key: int) -> Way:
        """Return the way to new judges on a node; nodes that cannot judge are refused."""
        while True:
            seat = self._cluster.seats.wait(key, 0, _SEAT_SECONDS)
            self._cluster.seats.require_one("judge")
            if seat is None:
                raise TunerError("no node of the cluster can judge: none is free")
            relay = self._cluster.relay(seat, JudgeRelay)
            way = Way(self._cluster, self._luggage, relay, self._closed, lambda: None)
            try:
                with disk_refused():
                    way.greet(seat)
                    order = (self._luggage.trees, self._order, list(self._models))
                    if reason := way.call(relay.open_judges, *order):
                        raise RefusedError(reason)
                return way
            except NodeLostError as error:
                if not error.node_gone:
                    raise
                self._cluster.seats.drop(seat.node)
                self._cluster.seats.leave(key)
            except RefusedError as refusal:
                self._cluster.seats.leave(key)
                self._cluster.dismiss(relay)
                if self._cluster.seats.refuse(seat.node, str(refusal), refusal.disk):
                    say(f"{seat.node.host} cannot judge: {refusal}")

    def close(self) -> None:
        """End the judges."""
        self._closed.set()
        self._threads.shutdown(cancel_futures=True)
        while not self._slots.empty():
            _, way = self._slots.get()
            if way is not None:
                self._cluster.dismiss(way.relay)


@contextlib.contextmanager
def open_node_pool(
    cluster: Cluster, order: JudgeOrder, settings: JudgeSettings
) -> Iterator[NodePool]:
    """Judge on the nodes of `cluster` as the judges with `settings` do here."""
    with contextlib.closing(NodePool(cluster, order, chosen_models(settings))) as pool:
        try:
            yield pool
        except Closed as error:
            raise TunerError("judging was stopped") from error
