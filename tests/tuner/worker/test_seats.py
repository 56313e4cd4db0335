"""Seats of workers on nodes that come and go, without a cluster."""

from __future__ import annotations

import threading

import pytest

from tuner.errors import DiskError, TunerError
from tuner.worker.nodes.seats import Node, Seats, node_seats

A, B, C = Node("a", "a", 1), Node("b", "b", 2), Node("c", "c", 1)


def seats(*nodes: Node, most: int = 9) -> Seats:
    made = Seats(most)
    made.update(nodes)
    return made


@pytest.mark.parametrize(
    ("resources", "share", "gpus", "count"),
    [
        ({"CPU": 8.0, "memory": 100.0}, 1.0, False, 8),
        ({"CPU": 8.0, "memory": 35.0}, 1.0, False, 3),
        ({"CPU": 8.0, "memory": 1.0}, 1.0, False, 1),
        ({"memory": 100.0}, 1.0, False, 0),
        ({"CPU": 8.0, "GPU": 2.0, "memory": 1.0}, 1.0, True, 2),
        ({"CPU": 8.0, "GPU": 2.0}, 0.5, True, 4),
        ({"CPU": 8.0, "GPU": 1.0}, 0.1, True, 10),
        ({"CPU": 8.0}, 1.0, True, 0),
    ],
)
def test_a_node_has_a_seat_for_each_gpu_or_core(
    resources: dict[str, float], share: float, gpus: bool, count: int
) -> None:
    assert node_seats(resources, 10, share, gpus) == count


def test_workers_are_spread_over_the_nodes_and_no_more_than_chosen() -> None:
    made = seats(A, B, C, most=3)
    assert made.total() == 3
    assert [made.claim(key) for key in range(4)] == [True, True, True, False]
    found = [made.wait(key, 0, 0.0) for key in range(3)]
    assert {seat.node.id for seat in found if seat} == {"a", "b", "c"}
    made.leave(1)
    assert made.claim(4)


def test_each_worker_of_a_node_has_another_part_of_it() -> None:
    made = seats(B)
    parts = [seat.part for key in range(2) if (seat := made.wait(key, 0, 0.0))]
    assert [(part.place, part.among) for part in parts] == [(0, 2), (1, 2)]


def test_a_node_that_comes_gives_a_seat_to_the_worker_that_waits() -> None:
    made = seats(A)
    assert made.claim(0)
    adding = threading.Timer(0.2, lambda: made.update([A, C]))
    adding.start()
    seat = made.wait(1, 0, 10.0)
    assert seat is not None
    assert seat.node == C


def test_a_lost_node_has_no_seats_and_its_workers_wait_for_others() -> None:
    made = seats(A, C)
    assert made.claim(0)
    assert made.claim(1)
    made.update([C])
    lost = next(key for key in (0, 1) if (seat := made.wait(key, 0, 0.0)) and seat.node == A)
    made.leave(lost)
    assert made.wait(2, 0, 0.0) is None
    assert made.wanted(1 - lost)  # it can give its own back when it is idle
    assert not made.claim(3)
    made.leave(1 - lost)
    assert not made.claim(3)  # who waits goes first
    assert made.wait(2, 0, 0.0) is not None


def test_a_node_that_is_gone_is_not_taken_for_a_living_one() -> None:
    made = seats(A)
    made.drop(A)
    made.update([A, C])
    assert made.total() == 1
    seat = made.wait(0, 0, 0.0)
    assert seat is not None
    assert seat.node == C


def test_a_refused_node_is_used_no_more() -> None:
    made = seats(A, C)
    assert made.refuse(A, "no room")
    assert not made.refuse(A, "no room")
    assert made.total() == 1
    made.require_one("work")
    made.refuse(C, "torch")
    with pytest.raises(TunerError, match=r"^no node .* can work: no room; torch$"):
        made.require_one("work")
    made.update([A, B, C])
    made.require_one("work")


def test_nodes_that_have_all_no_room_are_a_full_disk() -> None:
    made = seats(A, C)
    made.refuse(A, "its disk is full", disk=True)
    made.refuse(C, "its disk is full", disk=True)
    with pytest.raises(DiskError, match=r"can work: its disk is full$"):
        made.require_one("work")
    made.refuse(C, "torch")  # the first reason counts
    with pytest.raises(DiskError):
        made.require_one("work")


def test_a_trial_moves_to_a_node_with_more_memory() -> None:
    made = seats(A, C)
    first = made.wait(0, 0, 0.0)
    assert first is not None
    made.note_memory(first.node, 8)
    other = C if first.node == A else A
    assert made.larger(first.node) == 8  # the other may have more
    made.note_memory(other, 24)
    assert made.larger(first.node) == 8
    assert made.larger(other) is None
    made.leave(0)
    seat = made.wait(1, 8, 0.0)
    assert seat is not None
    assert seat.node == other
    assert made.wait(2, 8, 0.0) is None
    assert made.wanted(1)


def test_a_trial_waits_for_no_memory_that_no_node_can_have() -> None:
    head = Node("head", "head", 0)
    made = seats(A, C, head)
    assert made.claim(0)
    made.note_memory(A, 8)
    assert made.claim(1)
    made.leave(0)
    assert made.wait(2, 8, 0.0) is None  # the memory of C is not known yet: its worker may end
    made.note_memory(C, 8)
    seat = made.wait(2, 8, 0.0)
    assert seat is not None
    assert seat.node == A
    assert made.larger(A) is None


def test_a_trial_that_no_node_bears_takes_the_seat_of_an_idle_worker() -> None:
    made = seats(A)
    made.note_memory(A, 8)
    assert made.claim(0)
    assert made.wait(1, 8, 0.0) is None
    assert made.wanted(0)


def test_the_latest_worker_gives_way_to_one_that_the_others_wait_for() -> None:
    made = seats(A, C)
    assert made.claim(1)
    assert made.claim(2)
    assert not made.gives_way(2)
    assert made.wait(3, 0, 0.0, urgent=True) is None
    assert (made.gives_way(1), made.gives_way(2)) == (False, True)
    made.leave(2)
    assert made.wait(3, 0, 0.0, urgent=True) is not None
    assert not made.gives_way(1)
