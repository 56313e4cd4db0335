"""Results of a study, read from results.db: its trials, the Pareto front, the trial to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metrics.pareto import pareto
from tuner.errors import ConfigError
from tuner.events import COUNTED
from tuner.space.recipes import RECIPE
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow, RunRow, StudyRow, TrialRow


@dataclass(frozen=True)
class Result:
    """A trial and the last rung that was scored."""

    trial: TrialRow
    rung: RungRow


@dataclass(frozen=True)
class Results:
    """A study at one moment, running or finished: all trials, the scored ones, the base's scores.

    `rungs` are all rungs of each trial, in order, by its number; `runs` are the times of all runs.
    """

    study: StudyRow
    trials: tuple[TrialRow, ...]
    scored: tuple[Result, ...]
    base: RungRow | None
    rungs: Mapping[int, Sequence[RungRow]] = field(default_factory=dict)
    runs: Sequence[RunRow] = ()

    @property
    def is_over(self) -> bool:
        """True if the budget has no further trial: all were run, or its hours are spent."""
        spent = bool(self.runs) and self.runs[-1].ended is not None
        return self.finished >= self.study.budget or spent

    @property
    def finished(self) -> int:
        """Number of trials that count towards the budget."""
        return sum(trial.state in COUNTED for trial in self.trials)


@dataclass(frozen=True)
class Recommendation:
    """The trial to take if the user names none, and the reason in a sentence."""

    result: Result
    why: str


def is_begun(folder: StudyFolder) -> bool:
    """Return True if results.db has the study: a run may have been killed before it was written."""
    if not folder.exists():
        return False
    with Store(folder.results_db, read_only=True) as store:
        return store.study() is not None


def read_results(folder: StudyFolder) -> Results:
    """Return the results of the study in `folder`, which may still be running.

    Raises ConfigError if no study was begun in the folder.
    """
    if folder.closed():
        raise ConfigError(f"{folder.root} cannot be read; change its permissions")
    if not folder.exists():
        raise ConfigError(f"no study in {folder.root}")
    with Store(folder.results_db, read_only=True) as store:
        study, trials, base = store.study(), store.trials(), store.rungs(None)
        rungs, runs = store.rungs_by_trial(), store.runs()
    if study is None:
        raise ConfigError(f"no study was begun in {folder.root}")
    scored = [Result(trial, rungs[trial.number][-1]) for trial in trials if trial.number in rungs]
    first = base[0] if base else None
    return Results(study, tuple(trials), tuple(scored), first, rungs, runs)


def front(results: Results) -> list[Result]:
    """Return the complete trials that no other one beats in every objective, the strongest first.

    Trials that break a constraint or did not reach their last rung are left out.
    """
    names = results.study.objectives
    feasible = [result for result in results.scored if result.trial.state == "complete"]
    points = [[result.rung.objectives[name].value for name in names] for result in feasible]
    best = [feasible[index] for index in pareto(points)] if points else []
    return sorted(best, key=lambda result: (-strength(result.rung, names), result.trial.number))


def of_recipes(results: Results) -> bool:
    """Return True if the study compares named recipes; it then searches for no best trial."""
    return any(RECIPE in trial.parameters for trial in results.trials)


def strength(rung: RungRow, names: Sequence[str]) -> float:
    """Return the geometric mean of the lower 95 % bounds of the objectives, in [0, 1]."""
    return math.prod(max(0.0, rung.objectives[name].low) for name in names) ** (1 / len(names))


def recommended(results: Results) -> Recommendation:
    """Return the trial of the front with the highest geometric mean of its lower bounds.

    Raises ConfigError if no complete trial keeps the constraints.
    """
    best = front(results)
    if not best:
        raise ConfigError(
            f"no trial of {results.study.name} is complete and keeps the constraints "
            f"({constraints_text(results.study)}); choose one with --trial, or run more trials"
        )
    names = results.study.objectives
    why = (
        f"trial {best[0].trial.number} has the highest geometric mean of the objectives' lower "
        f"bounds, {strength(best[0].rung, names):.2f}, of the {len(best)} on the front"
    )
    return Recommendation(best[0], why)


def constraints_text(study: StudyRow) -> str:
    """Return the constraints as `rate <= limit, ...`, or `none`."""
    return ", ".join(f"{name} <= {limit:g}" for name, limit in study.constraints.items()) or "none"
