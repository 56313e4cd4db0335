"""What a worker is asked to do: plain data that goes from the process that runs a study to it."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.space import TrainConfig
from tuner.storage.fresh_rows import FreshSample


@dataclass(frozen=True)
class TrialWork:
    """Train `config` for trial `number`, and sample and score it at each of `rungs`.

    The last of `rungs` (optimizer steps) is the trial's last one.
    """

    number: int
    config: TrainConfig
    rungs: tuple[int, ...]


@dataclass(frozen=True)
class RepeatWork:
    """A part of a confirmation: the LoRA of `part` on fresh noise, `seeds` seeds of each prompt.

    `training_seed` is that of its training, None for the base, which has none; `steps` how long the
    trial was meant to be, by which schedules and stages go.
    """

    part: FreshSample
    seeds: int
    training_seed: int | None
    steps: int


Work = TrialWork | RepeatWork
