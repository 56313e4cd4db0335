"""What a worker says and is told, and who tries again: over real pipes, without a network."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import pytest

from tuner.errors import DiskError, DivergedError, OutOfMemoryError
from tuner.events import Event, Phase, Retried
from tuner.space import TrainConfig
from tuner.space.config import BudgetConfig
from tuner.trial import Rung, TrialWork
from tuner.trial.messages import Idle
from tuner.worker import Worker, WorkerLostError, trial_attempts
from tuner.worker.attempts import smaller_batch
from tuner.worker.channel import Channel, Host
from tuner.worker.process import Failure, Over, answer
from tuner.worker.share import Share
from tuner.worker.worker import Patience

FIRST = Rung(1, Path("lora"), [], {}, {})
LAST = Rung(2, Path("lora"), [], {}, {})


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    ours, theirs = Pipe()
    with ours, theirs:
        yield ours, theirs


def outcomes(
    closed: list[str], error: Exception | None = None
) -> Generator[Event | Rung, None, str]:
    try:
        yield Phase("train", 0)
        yield FIRST
        if error:
            raise error
        yield LAST
        return "all"
    finally:
        closed.append("closed")


def test_after_a_rung_the_worker_waits_for_the_word_to_go_on(
    ends: tuple[Connection, Connection],
) -> None:
    ours, theirs = ends
    for words, result in (((True, True), "all"), ((False,), None), ((True, False), None)):
        closed: list[str] = []
        found: list[str | None] = []
        side = threading.Thread(target=lambda: found.append(answer(theirs, outcomes(closed))))  # noqa: B023
        side.start()
        assert ours.recv() == Phase("train", 0)
        for rung, word in zip((FIRST, LAST), words, strict=False):
            assert ours.recv() == rung
            assert not ours.poll(0.05)
            ours.send(word)
        assert ours.recv() == Over()
        side.join()
        assert (found, closed) == ([result], ["closed"])


@dataclass
class Piped:
    """A host whose only worker is at the other end of a pipe; its own channel too."""

    connection: Connection

    def open(self, share: Share) -> Channel:
        return cast(Channel, self)

    def send(self, message: object) -> None:
        self.connection.send(message)

    def recv(self) -> object:
        return self.connection.recv()


def test_a_worker_that_was_given_a_word_is_heard_before_others(
    ends: tuple[Connection, Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.worker.worker._REPLY", 10.0)
    ours, theirs = ends

    def speak() -> None:
        answer(theirs, loaded())
        theirs.recv()
        answer(theirs, slowly())

    def loaded() -> Generator[Event | Rung, None, None]:
        yield from ()

    def slowly() -> Generator[Event | Rung, None, None]:
        for rung in (FIRST, LAST):
            time.sleep(0.1)
            yield rung
        time.sleep(0.1)

    side = threading.Thread(target=speak)
    side.start()
    worker = Worker(cast(Host, Piped(ours)), None, Share(0, 2))
    said = list(worker.do(TrialWork(0, TrainConfig(), (1, 2))))
    side.join()
    assert [one for one in said if not isinstance(one, Idle)] == [FIRST, LAST]
    after = said[said.index(FIRST) :]
    assert not [one for one in after if isinstance(one, Idle)]
    assert isinstance(said[0], Idle)  # of the others it is not known when they speak


@pytest.mark.parametrize("error", [DivergedError("nan"), DiskError("0")])
def test_what_a_trial_may_raise_leaves_the_worker_at_work(
    ends: tuple[Connection, Connection], error: Exception
) -> None:
    ours, theirs = ends
    ours.send(True)
    assert answer(theirs, outcomes([], error)) is None
    *_, failure = (ours.recv() for _ in range(3))
    assert isinstance(failure, Failure)
    assert (type(failure.error), str(failure.error)) == (type(error), str(error))
    assert not failure.ends


class ForeignError(Exception):
    """An error of a library: the other side may not be able to read it."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "gone", "x.png"), "FileNotFoundError: [Errno 2] gone: 'x.png'"),
        (ForeignError(1, 2), "RuntimeError: ForeignError: 1 2"),
        (OutOfMemoryError("2 GiB"), "OutOfMemoryError: 2 GiB"),
    ],
)
def test_after_an_error_that_leaves_a_doubt_the_worker_ends(
    ends: tuple[Connection, Connection], error: Exception, line: str
) -> None:
    ours, theirs = ends
    ours.send(True)
    with pytest.raises(SystemExit):
        answer(theirs, outcomes([], error))
    *_, failure = (ours.recv() for _ in range(3))
    assert f"{type(failure.error).__name__}: {failure.error}" == line
    assert failure.ends
    assert "in outcomes" in str(failure.trace)


def test_patience_grows_with_what_a_phase_took_before() -> None:
    patience = Patience(floor=60.0, unknown=1000.0)
    assert patience.limit("train") == 1000.0
    patience.heard("train", 2.0)
    assert patience.limit("train") == 60.0
    patience.heard("train", 30.0)
    patience.heard("train", 1.0)
    assert patience.limit("train") == 300.0
    assert patience.limit("score") == 1000.0


@pytest.mark.parametrize(
    ("batch", "added", "smaller"), [(16, 1, (8, 2)), (6, 2, (3, 4)), (9, 1, (3, 3)), (7, 1, (1, 7))]
)
def test_a_smaller_batch_has_the_same_pictures_a_step(
    batch: int, added: int, smaller: tuple[int, int]
) -> None:
    found = smaller_batch(TrainConfig(batch_size=batch, gradient_accumulation=added))
    assert found is not None
    assert (found.batch_size, found.gradient_accumulation) == smaller
    assert smaller_batch(TrainConfig(batch_size=1)) is None


class Script:
    """In the place of a worker: what it does of each piece of work, and then raises."""

    def __init__(self, *parts: tuple[list[Event | Rung], Exception | None]) -> None:
        self.parts = list(parts)
        self.tried: list[tuple[tuple[int, ...], int]] = []
        self.larger_nodes = 0

    def do(self, work: TrialWork) -> Generator[Event | Rung, None, None]:
        self.tried.append((work.rungs, work.config.batch_size))
        said, error = self.parts.pop(0)
        yield from said
        if error:
            raise error

    def outgrow(self) -> bool:
        self.larger_nodes -= 1
        return self.larger_nodes >= 0


BUDGET = BudgetConfig(trials=1, rungs=(1, 2))
TRAIN: list[Event | Rung] = [Phase("train", 0)]
KILLED = WorkerLostError("the worker was killed")
STARVED = WorkerLostError("the worker was killed because memory ran out", out_of_memory=True)


def test_a_trial_that_needs_more_memory_goes_to_a_larger_node_before_its_batch_shrinks() -> None:
    small = (TRAIN, OutOfMemoryError("out of memory"))
    script = Script(small, ([*TRAIN, FIRST], STARVED), small, ([*TRAIN, FIRST, LAST], None))
    script.larger_nodes = 2
    reasons = [event.reason for event in attempted(script) if isinstance(event, Retried)]
    assert script.tried == [((1, 2), 4), ((1, 2), 4), ((2,), 4), ((1, 2), 2)]
    assert "a node with more memory continues from the start" in reasons[0]
    assert "a node with more memory continues after step 1" in reasons[1]
    assert "batches of 2" in reasons[2]


def test_a_base_that_does_not_fit_is_loaded_on_a_larger_node() -> None:
    short = OutOfMemoryError("out of memory")
    script = Script(([Phase("load", 0)], short), ([Phase("load", 0), *TRAIN, FIRST, LAST], None))
    script.larger_nodes = 1
    (reason,) = (event.reason for event in attempted(script) if isinstance(event, Retried))
    assert "a node with more memory continues from the start" in reason


def attempted(script: Script) -> list[Event | Rung]:
    return list(trial_attempts(script, BUDGET, 0, TrainConfig(batch_size=4)))  # type: ignore[arg-type]


def test_a_rung_that_was_scored_is_not_done_again() -> None:
    script = Script(
        (TRAIN, KILLED), (TRAIN, KILLED), ([*TRAIN, FIRST], KILLED), ([], KILLED), ([LAST], None)
    )
    found = attempted(script)
    assert [one for one in found if isinstance(one, Rung)] == [FIRST, LAST]
    assert script.tried == [((1, 2), 4)] * 3 + [((2,), 4)] * 2
    told = [one.reason for one in found if isinstance(one, Retried)]
    assert [text.partition("; ")[2] for text in told] == [
        *["a new one continues from the start"] * 2,
        *["a new one continues after step 1"] * 2,
    ]


def test_a_worker_that_is_lost_after_the_last_rung_is_not_missed() -> None:
    script = Script(([*TRAIN, FIRST, LAST], KILLED))
    *before, retried = attempted(script)
    assert before == [*TRAIN, FIRST, LAST]
    assert isinstance(retried, Retried)
    assert "rungs are complete" in retried.reason


def test_a_third_loss_in_a_row_is_the_trials() -> None:
    with pytest.raises(WorkerLostError, match="the worker was killed"):
        attempted(Script((TRAIN, KILLED), (TRAIN, KILLED), (TRAIN, KILLED)))


def test_a_worker_that_the_system_killed_for_its_memory_trains_smaller_batches() -> None:
    script = Script(([*TRAIN, FIRST, *TRAIN], STARVED), (TRAIN, OutOfMemoryError("x")), ([], None))
    attempted(script)
    assert script.tried == [((1, 2), 4), ((1, 2), 2), ((1, 2), 1)]
    with pytest.raises(OutOfMemoryError, match="one picture at a time"):
        attempted(Script((TRAIN, STARVED), (TRAIN, STARVED), (TRAIN, STARVED)))


def test_memory_that_is_short_elsewhere_is_no_matter_of_the_batch() -> None:
    said: list[Event | Rung] = [*TRAIN, Phase("score", 0)]
    with pytest.raises(OutOfMemoryError):
        attempted(Script((said, OutOfMemoryError("x"))))
