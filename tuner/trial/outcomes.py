"""What comes of work on the device: scored rungs, and the ways in which a trial breaks down.

Plain data that loads no network: the process that runs a study reads it from its worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metrics.contract import Measure, Objective, ScoredSample
from tuner.events import Event
from tuner.storage.extra_rows import ExtraRow
from tuner.storage.rows import RungRow


@dataclass(frozen=True)
class Rung:
    """A checkpoint of a trial, sampled and scored; `measures` are told beside the objectives.

    `lora` is the file of what was trained: a LoRA, or DreamBooth's whole weights; None for the
    base by itself, whose step is 0. `seeds` is how many noise seeds of each prompt were sampled,
    None for the whole suite. `scored` has no pixels: they are on the disk. `failure` says why the
    trial must stop here whatever its scores are, None where it need not.
    """

    step: int
    lora: Path | None
    scored: list[ScoredSample]
    objectives: Mapping[str, Objective]
    rates: Mapping[str, Objective]
    measures: Mapping[str, Measure] = field(default_factory=dict)
    seeds: int | None = None
    failure: str | None = None

    def row(self, trial: int | None, grid: Path) -> RungRow:
        """What results.db keeps of it for a trial (None: the base); `grid` is its picture."""
        told = (self.objectives, self.rates, self.lora, grid, self.measures, self.seeds)
        return RungRow(trial, self.step, *told)


@dataclass(frozen=True)
class ExtraFound:
    """An extra was sampled and scored, or could not be: then `row` says why."""

    row: ExtraRow
    scored: Sequence[ScoredSample] = ()


@dataclass(frozen=True)
class Idle:
    """Nothing has come from one of several workers for a moment: time to look at the others."""


Outcome = Event | Rung | ExtraFound | Idle
"""What comes of work: what happens, a trial's scored rungs, and then its extras."""
