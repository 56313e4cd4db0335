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
from tuner.results.results import Results, constraints_text, front
from tuner.storage import StudyFolder
from tuner.storage.rows import RungRow
from tuner.terminal import console
from tuner.text import interval, words


def front_table(
    results: Results, plain: bool = False, marks: frozenset[str] = frozenset()
) -> Table:
    """Return the front with 95 % intervals, a row for each trial, and the base's row below.

    `marks` are the objectives and rates whose judges have no selfcheck for this base. If no trial
    keeps the constraints, the trials that break them are shown instead.
    """
    names, rates = results.study.objectives, list(results.study.constraints)
    best = front(results)
    shown = best or [result for result in results.scored if result.trial.state == "infeasible"]
    title = "Pareto front"
    if not best:
        title = "no trial keeps the constraints: " + constraints_text(results.study)
    if not shown:
        title = "Pareto front: no trial is complete yet"
    table = Table(title=title, title_justify="left", box=None if plain else box.SIMPLE_HEAD)
    table.add_column("trial", justify="right")
    for name in [*names, *rates]:
        table.add_column(marked(name, marks))
    for result in shown:
        table.add_row(str(result.trial.number), *_cells(result.rung, names, rates))
    if results.base:
        table.add_section()
        table.add_row("base", *_cells(results.base, names, rates), style="dim")
    return table


def trials_table(
    results: Results, plain: bool = False, marks: frozenset[str] = frozenset()
) -> Table:
    """Return every trial with its state, its last scores and the reason if it did not complete.

    Where trials ran on several kinds of devices, each has the name of its own.
    """
    names = results.study.objectives
    scored = {result.trial.number: result.rung for result in results.scored}
    table = Table(title="trials", title_justify="left", box=None if plain else box.SIMPLE_HEAD)
    devices = len({trial.device for trial in results.trials} - {None}) > 1
    for name in ("trial", "state", *names, *(["device"] if devices else []), "reason"):
        table.add_column(marked(name, marks))
    for trial in results.trials:
        rung = scored.get(trial.number)
        values = [f"{rung.objectives[name].value:.2f}" if rung else "-" for name in names]
        values += [trial.device or "-"] if devices else []
        table.add_row(str(trial.number), trial.state, *values, trial.reason or "")
    return table


def measures_tables(results: Results, plain: bool = False) -> list[Table]:
    """Return the measures beside the objectives for the front's trials and the base.

    One table of measures of the samples as a set, one of over-fitting. A table without measures is
    left out, so there may be none: in an older study, or if no trial is on the front yet.
    """
    shown = [result.rung for result in front(results)]
    shown += [results.base] if results.base else []
    # What nothing shown has a number of would widen the table; `measure_notes` says why.
    names = list(
        dict.fromkeys(
            name
            for rung in shown
            for name, measure in rung.measures.items()
            if measure.value is not None
        )
    )
    parts = {
        "measures": [name for name in names if name in SET_MEASURES],
        "over-fitting": [name for name in names if name not in SET_MEASURES],
    }
    return [_measures_table(title, part, shown, plain) for title, part in parts.items() if part]


def _measures_table(
    title: str, names: Sequence[str], rungs: Sequence[RungRow], plain: bool
) -> Table:
    table = Table(title=title, title_justify="left", box=None if plain else box.SIMPLE_HEAD)
    table.add_column("trial", justify="right")
    for name in names:
        table.add_column(name)
    for rung in rungs:
        known, label = rung.measures, str(rung.trial)
        if rung.trial is None:  # without notes: the base has no effect on itself by definition
            label = "base"
            known = {name: replace(measure, note=None) for name, measure in known.items()}
        cells = [measured(known.get(name)) for name in names]
        table.add_row(label, *cells, style="dim" if rung.trial is None else None)
    return table


def measure_notes(results: Results) -> list[str]:
    """Return why a measure of the base has no number, a line for each such measure."""
    measures = results.base.measures.values() if results.base else ()
    return [f"{each.name} is not measured: {each.note}" for each in measures if each.value is None]


def measured(measure: Measure | None) -> str:
    """Return a measure with its 95 % interval and its note, `-` if it has no number."""
    if measure is None or (objective := as_objective(measure)) is None:
        return "-"
    return f"{interval(objective)} {measure.note}" if measure.note else interval(objective)


def parameter_lines(results: Results) -> list[str]:
    """Return the parameters of each trial of the front, a line each."""
    trials = [result.trial for result in front(results)]
    return [f"trial {trial.number}: {words(trial.parameters)}" for trial in trials]


def _cells(rung: RungRow, names: Sequence[str], rates: Sequence[str]) -> list[str]:
    values = [rung.objectives.get(name) for name in names]
    values += [rung.rates.get(name) for name in rates]
    return [interval(value) if value else "-" for value in values]


def print_extras(folder: StudyFolder, results: Results, plain: bool = False) -> None:
    """Print a table for each extra; nothing if the study has no extras."""
    for extra in extra_tables(folder, results):
        console().print(_extra_table(extra, results, plain))


def _extra_table(extra: ExtraTable, results: Results, plain: bool) -> Table:
    names = [*results.study.objectives, *results.study.constraints]
    title = f"not optimised: {extra.title}"
    table = Table(title=title, title_justify="left", box=None if plain else box.SIMPLE_HEAD)
    for name in ("trial", *names, "reason"):
        table.add_column(name)
    for line in extra.lines:
        cells = [interval(line.numbers[n]) if n in line.numbers else "-" for n in names]
        who = "base" if line.trial is None else str(line.trial)
        style = "dim" if line.trial is None else None
        table.add_row(who, *cells, line.reason or "", style=style)
    return table
