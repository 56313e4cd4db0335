"""What a study found, read from results.db: the Pareto front and its table, the trial to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metrics.pareto import pareto
from tuner.errors import ConfigError
from tuner.events import COUNTED
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow, StudyRow, TrialRow


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


def _limits(study: StudyRow) -> str:
    return ", ".join(f"{name} <= {limit:g}" for name, limit in study.constraints.items()) or "none"
