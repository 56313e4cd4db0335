"""Several workers are waited for together, and one that is silent is asked again."""

from __future__ import annotations

import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from typing import cast

import pytest

from tuner.events import Event, Progress
from tuner.study import turns
from tuner.study.turns import Outcomes, Piece, give_room, one_turn
from tuner.trial.messages import Idle
from tuner.worker import Worker
from tuner.worker.channel import Channel, Host
from tuner.worker.share import Share


def listening(connection: Connection, asked: list[float]) -> Outcomes:
    """Work whose events arrive over a connection; None is its end."""
    while True:
        asked.append(time.monotonic())
        if not connection.poll(0):
            yield Idle(connection)
        elif (message := connection.recv()) is None:
            return None
        else:
            yield message


def test_only_who_has_a_message_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "ASK_AGAIN", 30.0)
    pipes = [multiprocessing.Pipe() for _ in range(3)]
    asked: list[list[float]] = [[] for _ in pipes]
    running = [
        Piece(place, listening(ours, asked[place]), place) for place, (ours, _) in enumerate(pipes)
    ]
    assert list(one_turn(running)) == []  # all were asked, and have nothing
    sender = threading.Timer(0.2, pipes[1][1].send, (Progress(1, 2, 1.0),))
    sender.start()
    began = time.monotonic()
    events: list[Event] = list(one_turn(running))
    assert 0.15 < time.monotonic() - began < 10
    assert events == [Progress(1, 2, 1.0, trial=1)]
    assert [len(times) for times in asked] == [1, 2, 1]
    for _, theirs in pipes:
        theirs.send(None)
    over: list[Piece] = []

    def rest() -> Outcomes:
        while running:
            over.extend((yield from one_turn(running)))
        return None

    assert list(rest()) == []
    assert sorted(piece.place for piece in over) == [0, 1, 2]


def test_who_is_silent_is_asked_again_while_others_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "ASK_AGAIN", 0.05)
    (silent, _kept), (spoken, theirs) = multiprocessing.Pipe(), multiprocessing.Pipe()
    asked: list[list[float]] = [[], []]
    running = [Piece(0, listening(silent, asked[0]), 0), Piece(1, listening(spoken, asked[1]), 1)]
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        theirs.send(Progress(1, 2, 1.0))
        list(one_turn(running))
    assert len(asked[0]) >= 5


class OneSeat:
    """A host with one seat, for which another worker waits until it is free."""

    def __init__(self) -> None:
        self.taken, self.closed = True, 0

    def wanted(self, place: int) -> bool:
        return self.taken

    def close(self) -> None:
        self.taken, self.closed = False, self.closed + 1


def test_a_worker_that_has_no_work_left_gives_its_seat_to_one_that_waits_for_it() -> None:
    host = OneSeat()
    pool = [Worker(cast(Host, host), share=Share(place, 3)) for place in range(3)]
    for worker in pool[:2]:
        worker._channel = cast(Channel, host)
    give_room([2], pool)  # it has no seat
    assert host.taken
    give_room([2, 1, 0], pool)
    assert (host.taken, host.closed) == (False, 1)
    give_room([0], [])
