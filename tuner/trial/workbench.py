"""The workbench of a trial: what all trials of a worker share, and how a suite is summarised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metrics import objectives
from metrics.contract import OBJECTIVES, Measure, Objective, Sample, ScoredSample
from metrics.sets import measures
from metrics.sets.ground import ground
from metrics.sets.measures import as_objective
from metrics.sets.memory import Memory, copies
from tuner.data import TrainingSet
from tuner.models import BaseModel
from tuner.space import SuiteConfig

if TYPE_CHECKING:
    from metrics.detectors import Detectors


@dataclass(frozen=True)
class Workbench:
    """What every trial of a worker shares: loaded once, used again and again.

    `training_sets` has them by the name that `data` gives in the search space (None: the only
    one), and `memories` what copies of them are told by; `base_scored` is the suite without LoRA,
    None until it is there. At a rung below a trial's last, `low_rung_seeds` noise seeds of each
    prompt are sampled; None: all.
    """

    base: BaseModel
    training_sets: Mapping[str | None, TrainingSet]
    suite: SuiteConfig
    judges: Detectors
    base_scored: Sequence[ScoredSample] | None = None
    reference: Sequence[ScoredSample] = ()
    objectives: tuple[str, ...] = OBJECTIVES
    memories: Mapping[str | None, Memory | None] = field(default_factory=dict)
    low_rung_seeds: int | None = None


@dataclass(frozen=True)
class Found:
    """What the samples of a suite are like: the objectives, the rates, and the measures."""

    objectives: Mapping[str, Objective]
    rates: Mapping[str, Objective]
    measures: Mapping[str, Measure]


def look_at(
    bench: Workbench, scored: Sequence[ScoredSample], base: Sequence[ScoredSample] | None
) -> Found:
    """Everything that is said of scored samples as a whole.

    A measure that the study asks for as an objective stands among the objectives too.
    """
    measured = measures.measures(scored, base, bench.reference)
    asked = [as_objective(measured[name]) for name in bench.objectives if name in measured]
    chosen = {one.name: one for one in asked if one is not None}
    # The base is held against itself as measures are, and against nothing as objectives are.
    against = None if scored is base else base
    return Found(
        objectives.objectives(scored, against) | chosen, objectives.rates(scored), measured
    )


def copy_measures(bench: Workbench, data: str | None, samples: Sequence[Sample]) -> list[Measure]:
    """How many of the samples are copies of images of the training set that `data` names.

    `samples` are as they were drawn. Empty where the set is too small to tell.
    """
    memory = bench.memories.get(data)
    embedding = None if memory is None else bench.judges.embedding
    if memory is None or embedding is None:
        return []
    return list(copies(embedding([one.image for one in samples]), memory))


def ground_of(samples: Iterable[Sample]) -> Measure:
    """How lively the grounds of the samples are; they are as they were drawn."""
    return ground([one.image for one in samples])
