"""Rows of a confirmation in results.db: its plan, and what was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from metrics.contract import Measure
from tuner.storage.columns import Columns
from tuner.storage.rows import RungRow


@dataclass(frozen=True)
class FreshSample:
    """A LoRA that a confirmation samples on fresh noise; `trial` is None for the base.

    Repeat 0 is the trial's own LoRA at `step`, others come from trainings with other seeds.
    """

    trial: int | None
    step: int
    repeat: int


BASE = FreshSample(None, 0, 0)

_OWN_COLUMNS = ("repeat", "seed", "seeds", "reason")
"""Columns of FreshRow beside those of its rung."""


@dataclass(frozen=True)
class PlanRow:
    """A candidate to confirm: the LoRA of `trial` at `step`.

    `repeats` is the number of trainings with other seeds, `seeds` the number of fresh sampling
    seeds for each prompt. `begun` is UTC.
    """

    trial: int
    step: int
    repeats: int
    seeds: int
    begun: str

    def columns(self) -> Columns:
        """Return the columns of its table row."""
        return asdict(self)


@dataclass(frozen=True)
class FreshRow:
    """A LoRA sampled on fresh noise, or the base (trial None).

    `repeat` 0 is the trial's own file, others were trained with the training seed `seed` (None
    for the base). `seeds` is the number of samples for each prompt. `reason` is set if a training
    gave no LoRA; the rung then has no numbers.
    """

    rung: RungRow
    repeat: int
    seed: int | None
    seeds: int
    reason: str | None = None

    @property
    def sampled(self) -> FreshSample:
        """LoRA that was sampled."""
        return FreshSample(self.rung.trial, self.rung.step, self.repeat)

    def columns(self, root: Path) -> Columns:
        """Return the columns of its table row, paths relative to `root`."""
        return self.rung.columns(root) | {name: getattr(self, name) for name in _OWN_COLUMNS}

    @staticmethod
    def read(row: Columns, measures: dict[str, Measure], root: Path) -> FreshRow:
        """Return the value of a table row with its measures; `root` is put before its paths."""
        own = {name: row[name] for name in _OWN_COLUMNS}
        # `seeds` counts the seeds of the fresh suite, which every rung has completely.
        return FreshRow(RungRow.read(row | {"seeds": None}, measures, root), **own)
