"""What a study found, read from results.db: the Pareto front and its table, the trial to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rich import box
from rich.table import Table

from metrics.contract import Measure
from metrics.measures import NAMES as SET_MEASURES
from metrics.measures import as_objective
from metrics.pareto import pareto
from tuner.calibration import marked
from tuner.errors import ConfigError
from tuner.events import COUNTED
from tuner.rows import RungRow, StudyRow, TrialRow
from tuner.store import Store
from tuner.study_folder import StudyFolder
from tuner.text import interval, words


@dataclass(frozen=True)
class Result:
    """A trial and the last rung at which it was scored."""

    trial: TrialRow
    rung: RungRow


@dataclass(frozen=True)
class Results:
    """A study as far as it is: its trials, those with scores, and the base's scores.

    `rungs` are all of them, by trial, in order.
    """

    study: StudyRow
    trials: tuple[TrialRow, ...]
    scored: tuple[Result, ...]
    base: RungRow | None
    rungs: Mapping[int, Sequence[RungRow]] = field(default_factory=dict)

    @property
    def finished(self) -> int:
        """How many trials count towards the budget."""
        return sum(one.state in COUNTED for one in self.trials)


@dataclass(frozen=True)
class Recommendation:
    """The trial to take where none was asked for, and the sentence that says why."""

    result: Result
    why: str


def read_results(folder: StudyFolder) -> Results:
    """Everything that is known of the study in `folder`; it may be running.

    Raises ConfigError for a folder in which no study was begun.
    """
    if not folder.exists():
        raise ConfigError(f"no study in {folder.root}")
    with Store(folder.results_db, read_only=True) as store:
        study, trials, base = store.study(), store.trials(), store.rungs(None)
        rungs = store.rungs_by_trial()
    if study is None:
        raise ConfigError(f"no study was begun in {folder.root}")
    scored = [Result(trial, rungs[trial.number][-1]) for trial in trials if trial.number in rungs]
    return Results(study, tuple(trials), tuple(scored), base[0] if base else None, rungs)


def front(results: Results) -> list[Result]:
    """The complete trials that no other one beats in every objective, the strongest first.

    Trials that break a constraint, or did not come to their last rung, are not among them.
    """
    names = results.study.objectives
    feasible = [one for one in results.scored if one.trial.state == "complete"]
    points = [[one.rung.objectives[name].value for name in names] for one in feasible]
    best = [feasible[index] for index in pareto(points)] if points else []
    return sorted(best, key=lambda one: (-strength(one.rung, names), one.trial.number))


def strength(rung: RungRow, names: Sequence[str]) -> float:
    """The geometric mean of the objectives' lower bounds: what is shown, not what is hoped."""
    return math.prod(max(0.0, rung.objectives[name].low) for name in names) ** (1 / len(names))


def recommended(results: Results) -> Recommendation:
    """The trial of the front with the highest geometric mean of its objectives' lower bounds.

    Raises ConfigError when no trial keeps the constraints.
    """
    best = front(results)
    if not best:
        raise ConfigError(
            f"no trial of {results.study.name} is complete and keeps the constraints "
            f"({_limits(results.study)}); choose one with --trial, or run more trials"
        )
    names = results.study.objectives
    why = (
        f"trial {best[0].trial.number} has the highest geometric mean of the objectives' lower "
        f"bounds, {strength(best[0].rung, names):.2f}, of the {len(best)} on the front"
    )
    return Recommendation(best[0], why)


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


def _limits(study: StudyRow) -> str:
    return ", ".join(f"{name} <= {limit:g}" for name, limit in study.constraints.items()) or "none"
