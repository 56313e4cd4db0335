"""Several pieces of work in turns: who waits for whose scores."""

from __future__ import annotations

from collections.abc import Generator

from tuner.events import Event, Phase
from tuner.storage.fresh_rows import BASE, FreshSample
from tuner.study.stopping import Ending
from tuner.study.turns import Piece, one_turn
from tuner.trial.messages import BaseNeeded, Idle


def work(
    name: str, log: list[str], steps: int
) -> Generator[Event | Idle | BaseNeeded, None, Ending | None]:
    yield BaseNeeded() if name == "lora" else Idle()
    for _ in range(steps):
        log.append(name)
        yield Idle()
    return None


def test_a_lora_waits_for_the_base_on_fresh_noise_of_another_worker() -> None:
    log: list[str] = []
    running = [
        Piece(0, work("base", log, 3), None, BASE),
        Piece(1, work("lora", log, 1), 4, FreshSample(4, 100, 0)),
    ]
    while running:
        list(one_turn(running))
    assert log == ["base", "base", "base", "lora"]


def test_a_trial_of_the_search_does_not_wait_for_fresh_noise() -> None:
    log: list[str] = []
    running = [Piece(0, work("base", log, 3), None, BASE), Piece(1, work("lora", log, 1), 4)]
    while running:
        list(one_turn(running))
    assert log.index("lora") < 2


def test_phases_get_the_trial_of_their_piece() -> None:
    def phases() -> Generator[Event | Idle | BaseNeeded, None, Ending | None]:
        yield Phase("sample")
        return None

    [event] = list(one_turn([Piece(0, phases(), 7, FreshSample(7, 1, 2))]))
    assert event == Phase("sample", 7, 2)
