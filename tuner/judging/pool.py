"""Judge processes: they score samples while the process that owns them draws or reads others.

Each is spawned once and keeps its networks, which open when it first needs them. Samples go to it
over a pipe, scores come back; no network crosses.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from typing import TYPE_CHECKING

import metrics
from metrics.contract import BATCH, Features, JudgeSettings, Sample, Score, ScoredSample
from tuner.errors import JudgeLostError, portable
from tuner.terminal import end_with_parent, own_warnings, signals_held

if TYPE_CHECKING:
    from metrics.detectors import Detectors

_DEVICE_BYTES = 3 * 2**30
"""GPU memory of a judge process, whose networks of torch are there: a context and ViT-L-14, the
default model for gender."""
_DEVICE_SHARE = 4
"""The judges take at most a quarter of the GPU's free memory: training needs the rest."""

_SPAWN = multiprocessing.get_context("spawn")

_TO_END = 2.0
"""Seconds that a killed process may take to be gone."""


@dataclass(frozen=True)
class _Judge:
    process: SpawnProcess
    connection: Connection


@dataclass(frozen=True)
class _Scores:
    """The answer of a judge process: what each sample was given, and what it warned of."""

    given: tuple[tuple[dict[str, Score], Features | None], ...]
    warned: tuple[str, ...]


class JudgePool:
    """`count` judge processes for the networks of `settings`, started at once. Close it after use.

    Submit samples from the thread that created it.
    """

    def __init__(self, settings: JudgeSettings, count: int) -> None:
        """Start the processes; their networks open on first use."""
        self.count = count
        self._warned: deque[str] = deque()
        self._judges: list[_Judge] = []
        self._free: SimpleQueue[_Judge] = SimpleQueue()
        # One thread for each process sends it samples and waits for their scores.
        self._threads = ThreadPoolExecutor(count, "tuner-judge")
        for _ in range(count):
            self._start(settings)

    def submit(
        self, samples: Sequence[Sample], settings: JudgeSettings
    ) -> list[Future[list[ScoredSample]]]:
        """Have the samples scored; return their results to be, in order, for `scored`.

        Each process is sent an equal number of them, up to `BATCH` at a time, which it scores
        faster than one by one. The models of `settings` are those of the pool; its thresholds may
        be others.
        """
        rounds = math.ceil(len(samples) / (self.count * BATCH))
        batch = math.ceil(len(samples) / max(1, rounds * self.count))
        return [
            self._threads.submit(self._score, samples[start : start + batch], settings)
            for start in range(0, len(samples), max(1, batch))
        ]

    def scored(self, results: Collection[Future[list[ScoredSample]]]) -> Iterator[ScoredSample]:
        """Wait for results of `submit`, and yield them in order.

        Raises what scoring raised, JudgeLostError if a process was killed or ended by itself.
        """
        try:
            for result in results:
                scored = result.result()
                while self._warned:
                    warnings.warn(self._warned.popleft(), stacklevel=1)
                yield from scored
        finally:
            cancel(results)

    def close(self) -> None:
        """End the processes, whatever they do: they write nothing."""
        for judge in self._judges:
            judge.process.kill()
        for judge in self._judges:
            judge.process.join(_TO_END)
        self._threads.shutdown(cancel_futures=True)  # their pipes are broken now
        for judge in self._judges:
            judge.connection.close()

    def _start(self, settings: JudgeSettings) -> None:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(
            target=serve, args=(theirs, settings), name="tuner-judge", daemon=True
        )
        with signals_held():
            process.start()
            judge = _Judge(process, ours)
            self._judges.append(judge)
        theirs.close()
        self._free.put(judge)

    def _score(self, samples: Sequence[Sample], settings: JudgeSettings) -> list[ScoredSample]:
        judge = self._free.get()
        try:
            judge.connection.send(([replace(each, path=None) for each in samples], settings))
            answer: _Scores | Exception = judge.connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost(judge) from error
        finally:
            self._free.put(judge)  # a lost one too: the next sample finds it lost again
        if isinstance(answer, Exception):
            raise answer
        self._warned.extend(answer.warned)
        pairs = zip(samples, answer.given, strict=True)
        return [ScoredSample(sample, scores, features) for sample, (scores, features) in pairs]

    def _lost(self, judge: _Judge) -> JudgeLostError:
        judge.process.join(_TO_END)
        code = judge.process.exitcode
        if code is None or code >= 0:
            return JudgeLostError(f"a judge process ended by itself (exit code {code})")
        return JudgeLostError(f"a judge process was killed ({signal.Signals(-code).name})")


def score(
    samples: Sequence[Sample], judges: Detectors, pool: JudgePool | None
) -> list[ScoredSample]:
    """Return each sample with its scores, in order: from the pool, or from `judges` without one."""
    if pool is None:
        return metrics.score(samples, judges)
    return list(pool.scored(pool.submit(samples, judges.settings)))


def cancel(results: Iterable[Future[list[ScoredSample]]]) -> None:
    """Have no more of these samples scored than are being scored now."""
    for result in results:
        result.cancel()


@contextlib.contextmanager
def open_pool(settings: JudgeSettings, most: int, least: int = 2) -> Iterator[JudgePool | None]:
    """Start `pool_size` judge processes and end them afterwards; None for none."""
    count = pool_size(settings, most, least)
    if not count:
        yield None
        return
    with contextlib.closing(JudgePool(settings, count)) as pool:
        yield pool


def pool_size(settings: JudgeSettings, most: int, least: int = 2) -> int:
    """Return how many judge processes there can be, up to `most`; 0 for fewer than `least`.

    A single one is faster only if its caller has other work meanwhile, as one that draws on a GPU.
    There are fewer where a GPU has no memory for their networks, and none with a vision-language
    model, which is too large to be loaded twice.
    """
    count = 0 if settings.vlm is not None else min(most, _most_on_device(settings, most))
    return count if count >= max(1, least) else 0


def _most_on_device(settings: JudgeSettings, most: int) -> int:
    """Return how many judge processes the GPU has memory for; `most` where they use none."""
    torch_models = ("gender_model", "person_model", "pose_model", "parser_model")
    if most < 1 or not any(getattr(settings, name) for name in torch_models):
        return most
    import torch

    if not torch.cuda.is_available():
        return most
    free, _ = torch.cuda.mem_get_info()
    return int(free) // _DEVICE_SHARE // _DEVICE_BYTES


def serve(connection: Connection, settings: JudgeSettings) -> None:
    """Score the samples that are received, until the connection or the parent ends."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    use_one_core()
    warned: list[str] = []
    with (
        contextlib.suppress(EOFError, OSError),
        own_warnings(warned.append),
        metrics.open_detectors(settings) as detectors,
    ):
        while True:
            samples, detectors.settings = connection.recv()
            try:
                scored = metrics.score(samples, detectors)
                given = tuple((dict(each.scores), each.features) for each in scored)
                answer = _Scores(given, tuple(warned))
            except Exception as error:
                connection.send(_failure(error))
            else:
                connection.send(answer)
            warned.clear()


def use_one_core() -> None:
    """Leave the other cores to other processes that judge."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _failure(error: Exception) -> Exception:
    failure = portable(error)
    failure.add_note("".join(traceback.format_exception(error)).rstrip())
    return failure
