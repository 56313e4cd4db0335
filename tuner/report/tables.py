"""Tables of a study for the terminal: front, trials, measures, extras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich import box
from rich.table import Table

from metrics.contract import Measure
from metrics.sets.measures import NAMES as SET_MEASURES, as_objective
from tuner.judging.calibration import marked
from tuner.results.extras import ExtraTable, extra_tables
from tuner.results.results import Results, _limits, front
from tuner.storage import StudyFolder
from tuner.storage.rows import RungRow
from tuner.terminal import console
from tuner.text import interval, words


def front_table(
    results: Results, plain: bool = False, marks: frozenset[str] = frozenset()
) -> Table:
    """The front with 95 % intervals, a row per trial, and the base's row below.

    `marks` are the numbers that no selfcheck stands behind.
    Where no trial keeps the constraints, those that break them are shown instead.
    """
    names, rates = results.study.objectives, list(results.study.constraints)
    best = front(results)
    shown = best or [one for one in results.scored if one.trial.state == "infeasible"]
    title = "Pareto front"
    if not best:
        title = "no trial keeps the constraints: " + _limits(results.study)
    if not shown:
        title = "Pareto front: no trial is complete yet"
    table = Table(title=title, title_justify="left", box=None if plain else box.SIMPLE_HEAD)
    table.add_column("trial", justify="right")
    for name in [*names, *rates]:
        table.add_column(marked(name, marks))
    for one in shown:
        table.add_row(str(one.trial.number), *_cells(one.rung, names, rates))
    if results.base:
        table.add_section()
        table.add_row("base", *_cells(results.base, names, rates), style="dim")
    return table


def trials_table(
    results: Results, plain: bool = False, marks: frozenset[str] = frozenset()
) -> Table:
    """Every trial with its state, its last scores and, where it did not complete, the reason."""
    names = results.study.objectives
    scored = {one.trial.number: one.rung for one in results.scored}
    table = Table(title="trials", title_justify="left", box=None if plain else box.SIMPLE_HEAD)
    for name in ("trial", "state", *names, "reason"):
        table.add_column(marked(name, marks))
    for one in results.trials:
        rung = scored.get(one.number)
        values = [f"{rung.objectives[name].value:.2f}" if rung else "-" for name in names]
        table.add_row(str(one.number), one.state, *values, one.reason or "")
    return table


def measures_tables(results: Results, plain: bool = False) -> list[Table]:
    """What the samples of the front's trials are like beside the objectives, and the base's.

    One table of the samples as a set, one of over-fitting; none where nothing was measured: an
    older study, or none on the front yet.
    """
    shown = [(str(one.trial.number), one.rung) for one in front(results)]
    shown += [("base", results.base)] if results.base else []
    names = list(dict.fromkeys(name for _, rung in shown for name in rung.measures))
    parts = {
        "measures": [name for name in names if name in SET_MEASURES],
        "over-fitting": [name for name in names if name not in SET_MEASURES],
    }
    return [_measures_table(title, part, shown, plain) for title, part in parts.items() if part]


def _measures_table(
    title: str, names: Sequence[str], shown: Sequence[tuple[str, RungRow]], plain: bool
) -> Table:
    table = Table(title=title, title_justify="left", box=None if plain else box.SIMPLE_HEAD)
    table.add_column("trial", justify="right")
    for name in names:
        table.add_column(name)
    for label, rung in shown:
        known = rung.measures
        if rung.trial is None:  # that it has no effect on itself is no news
            known = {name: replace(one, note=None) for name, one in known.items()}
        cells = [measured(known.get(name)) for name in names]
        table.add_row(label, *cells, style="dim" if rung.trial is None else None)
    return table


def measure_notes(results: Results) -> list[str]:
    """Why the base leaves a measure without a number, a line each."""
    found = results.base.measures.values() if results.base else ()
    return [f"{one.name} is not measured: {one.note}" for one in found if one.value is None]


def measured(measure: Measure | None) -> str:
    """A measure with its 95 % interval and its note, `-` where it has no number."""
    if measure is None or (one := as_objective(measure)) is None:
        return "-"
    return f"{interval(one)} {measure.note}" if measure.note else interval(one)


def parameter_lines(results: Results) -> list[str]:
    """What each trial of the front was trained with, a line each."""
    return [f"trial {one.trial.number}: {words(one.trial.parameters)}" for one in front(results)]


def _cells(rung: RungRow, names: Sequence[str], rates: Sequence[str]) -> list[str]:
    found = [rung.objectives.get(name) for name in names]
    found += [rung.rates.get(name) for name in rates]
    return [interval(one) if one else "-" for one in found]


def print_extras(folder: StudyFolder, results: Results, plain: bool = False) -> None:
    """The tables at the terminal; nothing where the study has no extras."""
    for one in extra_tables(folder, results):
        console().print(_printed(one, results, plain))


def _printed(one: ExtraTable, results: Results, plain: bool) -> Table:
    names = [*results.study.objectives, *results.study.constraints]
    title = f"not optimised: {one.title}"
    table = Table(title=title, title_justify="left", box=None if plain else box.SIMPLE_HEAD)
    for name in ("trial", *names, "reason"):
        table.add_column(name)
    for line in one.lines:
        cells = [interval(line.numbers[n]) if n in line.numbers else "-" for n in names]
        who = "base" if line.trial is None else str(line.trial)
        style = "dim" if line.trial is None else None
        table.add_row(who, *cells, line.reason or "", style=style)
    return table
