"""Messages between the process that runs a study and its worker: work to do, and its outcomes.

Plain data; importing it loads no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from metrics.contract import Measure, Objective, ScoredSample
from tuner.events import Event
from tuner.space import TrainConfig
from tuner.storage.extra_rows import ExtraRow
from tuner.storage.fresh_rows import FreshSample
from tuner.storage.rows import RungRow


@dataclass(frozen=True)
class TrialWork:
    """Train `config` for trial `number`, and sample and score it at each of `rungs`.

    The last of `rungs` (optimizer steps) is the trial's last one.
    """

    number: int
    config: TrainConfig
    rungs: tuple[int, ...]


@dataclass(frozen=True)
class JudgeWork:
    """A file of any trainer to sample and score as trial `number`, at `strength`.

    `step` is the optimizer step that it was written at, 0 if it is not known. With `as_base` it is
    a whole checkpoint.
    """

    number: int
    path: Path
    strength: float
    step: int
    as_base: bool = False


@dataclass(frozen=True)
class RepeatWork:
    """A part of a confirmation: the LoRA of `part` on fresh noise, `seeds` seeds of each prompt.

    `training_seed` is the seed of its training, None for the base. `steps` is the planned length
    of the trial, on which its schedules and stages depend. `judged` is the file of a trial that
    trained nothing.
    """

    part: FreshSample
    seeds: int
    training_seed: int | None
    steps: int
    judged: JudgeWork | None = None


Work = TrialWork | RepeatWork | JudgeWork
"""One piece of work for a worker."""


@dataclass(frozen=True)
class Rung:
    """A checkpoint of a trial, sampled and scored; `measures` are reported beside the objectives.

    `lora` is the trained file: a LoRA, or DreamBooth's whole weights; None for the base, whose
    step is 0. `seeds` is the number of noise seeds sampled for each prompt, None for the whole
    suite. `scored` has no pixels: they are on the disk. `failure` is the reason to stop the trial
    here whatever its scores are, None without one. `device` is the name of the device it ran on.
    """

    step: int
    lora: Path | None
    scored: Sequence[ScoredSample]
    objectives: Mapping[str, Objective]
    rates: Mapping[str, Objective]
    measures: Mapping[str, Measure] = field(default_factory=dict)
    seeds: int | None = None
    failure: str | None = None
    device: str | None = None

    def row(self, trial: int | None, grid: Path) -> RungRow:
        """Return the row of results.db for `trial` (None: the base); `grid` is the grid's path."""
        values = (self.objectives, self.rates, self.lora, grid, self.measures, self.seeds)
        return RungRow(trial, self.step, *values)


@dataclass(frozen=True)
class ExtraScored:
    """An extra that was sampled and scored; if it could not be drawn, `row` has the reason."""

    row: ExtraRow
    scored: Sequence[ScoredSample] = ()


@dataclass(frozen=True)
class Idle:
    """One of several workers has no message at the moment; the others are read meanwhile.

    It has one once `ready` can be read; without it, it is asked again and again.
    """

    ready: Connection | None = None


@dataclass(frozen=True)
class BaseNeeded:
    """The work goes on with the base's scores, which another worker may still be making.

    The worker waits until the next outcome is requested: by then they have to be in results.db.
    """


Outcome = Event | Rung | ExtraScored | Idle | BaseNeeded
"""Messages of a worker: events, a trial's scored rungs, and then its extras."""
