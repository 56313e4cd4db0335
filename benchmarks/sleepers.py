"""Workers that sleep in place of training, in one process beside the controller.

Each is a thread that speaks as a worker process does: it answers over a pipe of its own with the
same function, sends the same events at the same pace, and rungs with the samples, scores and
features of the published study `pose`. Nothing is trained, drawn or judged; torch is not loaded.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from metrics.contract import Features, Objective
from tuner.events import BaseOpened, Phase, Progress
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import RungFolder
from tuner.storage.packed import Packed, pack
from tuner.storage.rows import RungRow
from tuner.trial import Rung, TrialWork
from tuner.trial.messages import BaseNeeded, Outcome
from tuner.worker.channel import Channel, LocalChannel
from tuner.worker.process import REPORTS_A_SECOND, answer
from tuner.worker.share import Share

PUBLISHED = Path(__file__).parents[1] / "studies" / "pose" / "published" / "results.db"
GRID = PUBLISHED.parent / "grids" / "0000.jpg"

SPREAD = 0.2
"""Trials last as long as they should, or longer or shorter by up to this share."""
_PARTS = {"train": 0.55, "sample": 0.25, "score": 0.2}
"""Shares of a trial's time in its phases (benchmarks/results/trial.md)."""
_REPORT_SECONDS = 1.0
"""As tuner.training.loop."""
_BATCH = 26
"""Pictures drawn at a time (tuner.models.sampling)."""


@dataclass
class Waits:
    """When a worker was given its first trial and ended its last (time.monotonic()), and the
    seconds in between in which it had no work because the controller had not answered."""

    began: float = 0.0
    ended: float = 0.0
    waited: float = 0.0
    trials: int = 0


@dataclass(frozen=True)
class Recorded:
    """A trial of the published study: its rungs and their samples, by step."""

    rungs: dict[int, RungRow]
    samples: dict[int, Packed]


@dataclass
class Timed:
    """A connection that notes how long a word was waited for."""

    connection: Connection
    waits: Waits

    def send(self, message: object) -> None:
        self.connection.send(message)

    def recv(self) -> object:
        since = time.monotonic()
        word = self.connection.recv()
        if self.waits.began:
            self.waits.waited += time.monotonic() - since
        return word


@dataclass
class Sleepers:
    """A host of sleeping workers, as `tuner.worker.channel.Host`."""

    connections: Sequence[Connection]
    process: multiprocessing.process.BaseProcess

    def open(self, share: Share) -> Channel:
        """Return the way to speak with a worker, which waits already."""
        return Speaking(self.process, self.connections[share.place])

    def claim(self, place: int) -> bool:
        """Return True: all workers are there."""
        return True

    def wanted(self, place: int) -> bool:
        """Return False: each worker has its own room."""
        return False

    def outgrow(self, place: int) -> bool:
        """Return False: no worker uses memory."""
        return False


class Speaking(LocalChannel):
    """A channel whose end does not end the process, which is that of all workers."""

    def __init__(self, process: multiprocessing.process.BaseProcess, connection: Connection):
        super().__init__(process, connection, 0)  # type: ignore[arg-type]

    def close(self) -> None:
        """End the worker."""
        self.guard.close()
        self.connection.close()


@contextlib.contextmanager
def asleep(
    folder: StudyFolder, count: int, seconds: float
) -> Iterator[tuple[Sleepers, Connection]]:
    """Start `count` sleeping workers; yield their host and a connection that gives their Waits."""
    spawn = multiprocessing.get_context("spawn")
    pairs = [spawn.Pipe() for _ in range(count)]
    ours, theirs = spawn.Pipe()
    arguments = ([end for _, end in pairs], theirs, folder, seconds)
    process = spawn.Process(target=sleep_and_answer, args=arguments)
    process.start()
    theirs.close()
    for _, end in pairs:
        end.close()
    ours.recv()  # they are ready
    yield Sleepers([end for end, _ in pairs], process), ours
    process.join()


def sleep_and_answer(
    connections: Sequence[Connection], results: Connection, folder: StudyFolder, seconds: float
) -> None:
    """Answer as the workers of a study until all connections end, then send a Waits for each."""
    recorded, base = read_recorded()
    ledger = [Waits() for _ in connections]
    pause = len(connections) / REPORTS_A_SECOND
    threads = []
    for place, (connection, waits) in enumerate(zip(connections, ledger, strict=True)):
        sleeper = Sleeper(place, folder, seconds, recorded, base, waits, pause)
        thread = threading.Thread(target=sleeper.serve, args=(connection,))
        threads.append(thread)
    results.send(None)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.send(ledger)


@dataclass
class Sleeper:
    """One worker: number `place`, with trials of `seconds`."""

    place: int
    folder: StudyFolder
    seconds: float
    recorded: Sequence[Recorded]
    base: Recorded
    waits: Waits
    pause: float
    has_base: bool = False
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.place)
        self.has_base = self.place == 0  # it makes the base's scores itself

    def serve(self, connection: Connection) -> None:
        """Load, then do the work that arrives, as `tuner.worker.process.serve`."""
        timed = Timed(connection, self.waits)
        with contextlib.suppress(EOFError, OSError):
            answer(timed, self.load(), self.pause)  # type: ignore[arg-type]
            while True:
                work = timed.recv()
                assert isinstance(work, TrialWork)
                self.waits.began = self.waits.began or time.monotonic()
                answer(timed, self.trial(work), self.pause)  # type: ignore[arg-type]
                self.waits.ended, self.waits.trials = time.monotonic(), self.waits.trials + 1

    def load(self) -> Generator[Outcome, None, None]:
        """Pretend to load; the first worker samples the base too."""
        yield Phase("load")
        if self.place:
            return
        yield BaseOpened("mannequin", "epsilon")
        yield Phase("base")
        time.sleep(self._share(self.base, 0) * (_PARTS["sample"] + _PARTS["score"]) * self.seconds)
        yield self._rung(self.base, 0, 0, RungFolder(self.folder.base))

    def trial(self, work: TrialWork) -> Generator[Outcome, None, None]:
        """Pretend to do a trial, as `tuner.trial.trial.run_trial`."""
        whole = self.seconds * self.random.uniform(1 - SPREAD, 1 + SPREAD)
        trial = self.recorded[self.random.integers(len(self.recorded))]
        steps = list(trial.rungs)
        yield Phase("train", work.number)
        done = 0
        for rung, step in zip(work.rungs, steps, strict=True):
            share = (rung - done) / work.rungs[-1]
            yield from self._train(done, rung, work.rungs[-1], share * whole * _PARTS["train"])
            yield Phase("sample", work.number)
            count, share = len(trial.samples[step]), self._share(trial, step) * whole
            for drawn in range(_BATCH, count + 1, _BATCH):
                time.sleep(share * _PARTS["sample"] * _BATCH / count)
                yield Progress(drawn, count, 10.0)
            if not self.has_base:
                yield BaseNeeded()
                self.has_base = True
            yield Phase("score", work.number)
            time.sleep(share * _PARTS["score"])
            yield self._rung(trial, step, rung, self.folder.trial(work.number).rung(rung))
            done = rung
            if rung != work.rungs[-1]:
                yield Phase("train", work.number)

    def _train(self, done: int, rung: int, last: int, seconds: float) -> Iterator[Progress]:
        reports = max(1, round(seconds / _REPORT_SECONDS))
        for report in range(1, reports + 1):
            time.sleep(seconds / reports)
            yield Progress(done + (rung - done) * report // reports, last, 4.0, 0.1, 1e-3)

    def _share(self, trial: Recorded, step: int) -> float:
        """Return the samples of a rung as a share of those of a whole trial."""
        whole = sum(len(samples) for samples in self.recorded[0].samples.values())
        return len(trial.samples[step]) / whole

    def _rung(self, trial: Recorded, recorded: int, step: int, files: RungFolder) -> Rung:
        """Return the rung at `recorded` with other noise as that at `step`, in `files`."""
        files.root.mkdir(parents=True)
        os.link(self.folder.root / "grid.png", files.grid)
        row = trial.rungs[recorded]
        drawn = {name: self._drawn(each) for name, each in row.objectives.items()}
        samples = replace(trial.samples[recorded], folder=files.samples)
        lora = files.lora if step else None
        measured = (drawn, row.rates, row.measures, row.seeds)
        return Rung(step, lora, samples, *measured, device="none")

    def _drawn(self, objective: Objective) -> Objective:
        value = float(np.clip(objective.value + self.random.normal(0, 0.05), 0, 1))
        return replace(objective, value=value)


def read_recorded() -> tuple[list[Recorded], Recorded]:
    """Return the published trials with all their rungs, and the base.

    Features are not published: random ones of their size are put in their place.
    """
    random = np.random.default_rng(0)
    with Store(PUBLISHED, read_only=True) as store:
        trials = [_recorded(store, trial.number, random) for trial in store.trials()]
        base = _recorded(store, None, random)
    most = max(len(trial.rungs) for trial in trials)
    return [trial for trial in trials if len(trial.rungs) == most], base


def _recorded(store: Store, number: int | None, random: np.random.Generator) -> Recorded:
    rungs = {row.step: row for row in store.rungs(number)}
    samples = {
        step: pack(
            replace(row.scored(), features=_features(random)) for row in store.samples(number, step)
        )
        for step in rungs
    }
    return Recorded(rungs, samples)


def _features(random: np.random.Generator) -> Features:
    def halves(*shape: int) -> np.ndarray:
        return random.random(shape).astype(np.float16)

    return Features("full", halves(8, 8, 3), halves(4), halves(13, 2))
