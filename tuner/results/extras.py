"""What was sampled beside the suite, a table for each: further bases, further sizes, the alias.

They stand beside the front's numbers and are no part of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metrics.contract import Objective
from metrics.objectives import Difference
from tuner.results.answer import difference
from tuner.results.results import Results, front
from tuner.storage import Store, StudyFolder
from tuner.storage.extra_rows import Extra, ExtraRow

MOST_ROWS = 20
"""Trials of a table, the strongest of the front."""


@dataclass(frozen=True)
class ExtraLine:
    """A trial, or the base (None): its numbers, its gains over the base under the same extra.

    `reason` says why there are no numbers.
    """

    trial: int | None
    numbers: Mapping[str, Objective]
    gains: Mapping[str, Difference] = field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True)
class ExtraTable:
    """The front's trials under one extra, the strongest first, and the base's line last."""

    title: str
    lines: Sequence[ExtraLine]


def extra_tables(folder: StudyFolder, results: Results) -> list[ExtraTable]:
    """What the front's trials are like beside the suite; empty where nothing was asked for."""
    study = results.study
    order = [one.trial.number for one in front(results)][:MOST_ROWS]
    with Store(folder.results_db, read_only=True) as store:
        rows = store.extras()
        by_extra: dict[Extra, dict[int | None, ExtraRow]] = {}
        for row in rows:
            by_extra.setdefault(row.extra, {})[row.rung.trial] = row
        tables = []
        for extra, found in sorted(by_extra.items()):
            base = found.get(None)
            lines = [_line(store, found[n], base, study.objectives) for n in order if n in found]
            lines += [_line(store, base, None, ())] if base and lines else []
            tables += [ExtraTable(title(extra, study.base), lines)] if lines else []
    return tables


def title(extra: Extra, base: str) -> str:
    """What is otherwise than in the suite, in words; `base` is the study's."""
    if extra.base != base:
        return f"on the base {extra.base}"
    return f"with the alias {extra.alias}" if extra.alias else f"at {extra.size} px"


def _line(
    store: Store, row: ExtraRow, base: ExtraRow | None, objectives: Sequence[str]
) -> ExtraLine:
    gains: dict[str, Difference] = {}
    if base is not None and row.reason is None:
        ours, theirs = (
            [sample.scored() for sample in store.extra_samples(extra)] for extra in (row, base)
        )
        found = {name: difference(ours, theirs, name, theirs) for name in objectives}
        gains = {name: one for name, one in found.items() if one is not None}
    numbers = {**row.rung.objectives, **row.rung.rates}
    return ExtraLine(row.rung.trial, numbers, gains, row.reason)
