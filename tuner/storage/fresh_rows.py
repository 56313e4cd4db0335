"""The rows of a confirmation in results.db: what is to be done, and what was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from metrics.contract import Measure
from tuner.storage.rows import Columns, RungRow


@dataclass(frozen=True)
class FreshSample:
    """A LoRA that a confirmation samples on fresh noise; the base has no trial.

    Repeat 0 is the trial's own LoRA at `step`, others come from trainings with other seeds.
    """

    trial: int | None
    step: int
    repeat: int


BASE = FreshSample(None, 0, 0)


@dataclass(frozen=True)
class PlanRow:
    """A candidate that is to be confirmed: the LoRA of `trial` at `step`.

    `repeats` trainings with other seeds; `seeds` fresh sampling seeds for each prompt. `begun` is
    UTC.
    """

    trial: int
    step: int
    repeats: int
    seeds: int
    begun: str

    def columns(self) -> Columns:
        """The row of its table."""
        return asdict(self)


@dataclass(frozen=True)
class FreshRow:
    """A LoRA sampled on fresh noise, or the base (trial None).

    `repeat` 0 is the trial's own file, others were trained with the training seed `seed` (None
    for the base). `seeds`: how many of each prompt. `reason`: why a training gave no LoRA, whose
    rung then has no numbers.
    """

    rung: RungRow
    repeat: int
    seed: int | None
    seeds: int
    reason: str | None = None

    @property
    def sampled(self) -> FreshSample:
        """The LoRA that the row is about."""
        return FreshSample(self.rung.trial, self.rung.step, self.repeat)

    def columns(self, root: Path) -> Columns:
        """The row of its table, paths from `root`."""
        told = {name: getattr(self, name) for name in ("repeat", "seed", "seeds", "reason")}
        return self.rung.columns(root) | told

    @staticmethod
    def read(row: Columns, measures: dict[str, Measure], root: Path) -> FreshRow:
        """What a row says, its paths below `root`, with the measures found beside it."""
        told = {name: row[name] for name in ("repeat", "seed", "seeds", "reason")}
        # Its number of seeds is that of the fresh suite, of which every rung has the whole.
        return FreshRow(RungRow.read(row | {"seeds": None}, measures, root), **told)
