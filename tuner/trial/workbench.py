"""Objects that all trials of a worker share, and the measures of a scored suite."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from metrics import objectives
from metrics.contract import OBJECTIVES, Measure, Objective, Sample, ScoredSample
from metrics.sets import measures
from metrics.sets.ground import ground
from metrics.sets.identity import FaceReference
from metrics.sets.measures import as_objective
from metrics.sets.memory import Memory, copies
from tuner.data import TrainingSet
from tuner.models import BaseModel
from tuner.space import SuiteConfig
from tuner.trial.messages import BaseNeeded

if TYPE_CHECKING:
    from metrics.detectors import Detectors
    from tuner.judging.pool import JudgePool


@dataclass(frozen=True)
class Workbench:
    """Objects that every trial of a worker uses, loaded once.

    The keys of `training_sets` and `memories` are the names that `data` has in the search space
    (None: the only one); copies of a training set are detected by its memory. `base_scored` is the
    suite without LoRA, None until it is scored; `read_base` waits for it and reads it where another
    worker scores it. `faces` are those of the person's photographs. At a rung below a trial's last,
    `low_rung_seeds` noise seeds of each prompt are sampled; None: all. `pool` scores samples beside
    the worker, which without it scores them itself.
    """

    base: BaseModel
    training_sets: Mapping[str | None, TrainingSet]
    suite: SuiteConfig
    judges: Detectors
    base_scored: Sequence[ScoredSample] | None = None
    reference: Sequence[ScoredSample] = ()
    faces: FaceReference | None = None
    objectives: tuple[str, ...] = OBJECTIVES
    memories: Mapping[str | None, Memory | None] = field(default_factory=dict)
    low_rung_seeds: int | None = None
    pool: JudgePool | None = None
    read_base: Callable[[], Generator[BaseNeeded, None, Sequence[ScoredSample]]] | None = None


def with_base(bench: Workbench) -> Generator[BaseNeeded, None, Workbench]:
    """Return the bench with the base's scores, for which it may have to wait."""
    if bench.base_scored is not None or bench.read_base is None:
        return bench
    return replace(bench, base_scored=(yield from bench.read_base()))


@dataclass(frozen=True)
class SuiteScores:
    """Objectives, rates and measures of a scored suite."""

    objectives: Mapping[str, Objective]
    rates: Mapping[str, Objective]
    measures: Mapping[str, Measure]


def summarise(
    bench: Workbench, scored: Sequence[ScoredSample], base: Sequence[ScoredSample] | None
) -> SuiteScores:
    """Summarise scored samples as objectives, rates and measures, compared with those of `base`.

    A measure that is an objective of the study is among the objectives too.
    """
    measured = measures.measures(scored, base, bench.reference, bench.faces)
    candidates = [as_objective(measured[name]) for name in bench.objectives if name in measured]
    chosen = {objective.name: objective for objective in candidates if objective is not None}
    # For the base itself, measures compare it with itself, and objectives with nothing.
    against = None if scored is base else base
    return SuiteScores(
        objectives.objectives(scored, against) | chosen, objectives.rates(scored), measured
    )


def copy_measures(bench: Workbench, data: str | None, samples: Sequence[Sample]) -> list[Measure]:
    """Measure how many samples, as drawn, are copies of pictures of the training set `data`.

    Returns an empty list if the set is too small to decide.
    """
    memory = bench.memories.get(data)
    embedding = None if memory is None else bench.judges.embedding
    if memory is None or embedding is None:
        return []
    return list(copies(embedding([sample.image for sample in samples]), memory))


def ground_measure(samples: Iterable[Sample]) -> Measure:
    """Measure the mean variation of the samples' backgrounds, as drawn (0 plain, 1 busy)."""
    return ground([sample.image for sample in samples])
