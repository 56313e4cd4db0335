"""Tables of the samples beside the suite: other bases, other sizes, prompts with the alias.

They are reported only and do not change the front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metrics.contract import Objective
from metrics.objectives import Difference
from tuner.results.confirmation import difference
from tuner.results.results import Results, front
from tuner.storage import Store, StudyFolder
from tuner.storage.extra_rows import Extra, ExtraRow

MOST_ROWS = 20
"""Most trials in a table: the strongest of the front."""


@dataclass(frozen=True)
class ExtraLine:
    """A trial, or the base (None), with its numbers and its gains over the base in the same extra.

    `reason` is the reason if there are no numbers.
    """

    trial: int | None
    numbers: Mapping[str, Objective]
    gains: Mapping[str, Difference] = field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True)
class ExtraTable:
    """The front's trials in one extra, the strongest first, and the base as the last line."""

    title: str
    lines: Sequence[ExtraLine]


def extra_tables(folder: StudyFolder, results: Results) -> list[ExtraTable]:
    """Return a table of the front's trials for each extra; empty if the study has no extras."""
    study = results.study
    order = [result.trial.number for result in front(results)][:MOST_ROWS]
    with Store(folder.results_db, read_only=True) as store:
        rows = store.extras()
        by_extra: dict[Extra, dict[int | None, ExtraRow]] = {}
        for row in rows:
            by_extra.setdefault(row.extra, {})[row.rung.trial] = row
        tables = []
        for extra, by_trial in sorted(by_extra.items()):
            base = by_trial.get(None)
            shown = [by_trial[number] for number in order if number in by_trial]
            lines = [_line(store, row, base, study.objectives) for row in shown]
            lines += [_line(store, base, None, ())] if base and lines else []
            tables += [ExtraTable(title(extra, study.base), lines)] if lines else []
    return tables


def title(extra: Extra, base: str) -> str:
    """Return in words how an extra differs from the suite; `base` is the study's base."""
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
        apart = {name: difference(ours, theirs, name, theirs) for name in objectives}
        gains = {name: gain for name, gain in apart.items() if gain is not None}
    numbers = {**row.rung.objectives, **row.rung.rates}
    return ExtraLine(row.rung.trial, numbers, gains, row.reason)
