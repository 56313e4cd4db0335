"""Draw a suite and score it; judge processes score a batch while the next one is drawn."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import metrics
from metrics.contract import Sample, ScoredSample
from tuner.events import Progress
from tuner.judging.pool import JudgePool, cancel
from tuner.models import BaseModel
from tuner.models.method import Trained
from tuner.models.sampling import sample_batches
from tuner.space import SuiteConfig
from tuner.storage.folder import RungFolder
from tuner.trial.workbench import Workbench

if TYPE_CHECKING:
    from metrics.detectors import Detectors

_JUDGED_BATCH = 13
"""Samples of a batch that others judge while the next is drawn. Equal batches make up a suite of
13 prompts."""


@dataclass
class Drawn:
    """The samples of a suite, as drawn, on their way to their scores.

    Without `pool` they are scored by `judges`, in this process, when their scores are needed.
    """

    judges: Detectors
    pool: JudgePool | None
    samples: list[Sample] = field(default_factory=list)
    results: list[Future[list[ScoredSample]]] = field(default_factory=list)
    submitted: int = 0

    def submit(self) -> None:
        """Have the judge processes, if there are any, score the samples that are new.

        Judges of photographs wait for the study's thresholds, which another worker may measure.
        """
        settings = self.judges.settings
        if self.pool is not None and (settings.domain == "drawn" or settings.thresholds):
            self._submit_new(self.pool)

    def scored(self) -> list[ScoredSample]:
        """Return the samples with their scores, in order; raises JudgeLostError."""
        if self.pool is None:
            return metrics.score(self.samples, self.judges)
        self._submit_new(self.pool)
        return list(self.pool.scored(self.results))

    def _submit_new(self, pool: JudgePool) -> None:
        self.results += pool.submit(self.samples[self.submitted :], self.judges.settings)
        self.submitted = len(self.samples)


def draw_suite(
    bench: Workbench,
    suite: SuiteConfig,
    lora: Trained | None,
    folder: RungFolder,
    seeds: int | None = None,
    base: BaseModel | None = None,
) -> Generator[Progress, None, Drawn]:
    """Draw a suite as `sample_batches` does, on `base` (None: the bench's), for scoring.

    Call it with `yield from`. Judge processes begin with the first batch, and if they keep up, one
    is left for them when the last is drawn.
    """
    drawn = Drawn(bench.judges, bench.pool)
    most = None if bench.pool is None else _JUDGED_BATCH
    batches = sample_batches(base or bench.base, suite, lora, folder, seeds, most)
    try:
        with closing(batches):
            for batch, progress in batches:
                drawn.samples += batch
                drawn.submit()
                yield progress
    except BaseException:
        cancel(drawn.results)
        raise
    return drawn
