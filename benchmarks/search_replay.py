"""Replay studies on the surrogate of a table: the loop of `tuner run` without its trainings.

Parameters come from the study's own samplers, and its own rules stop trials. A method sees noisy
measures. What it reached is judged by the measures without noise.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState
from search_methods import Method, Telling, config_of, sampler_for
from search_process import smoothed
from search_surrogate import Floats, Surrogate, encoded
from search_table import LIMITED, Rung

from metrics.contract import Objective
from metrics.posterior import strength as mean_strength
from tuner.results.course import hypervolumes
from tuner.results.results import strength
from tuner.space import StudyConfig
from tuner.space.parameters import Value
from tuner.storage.rows import RungRow
from tuner.study.optuna_study import complete
from tuner.study.samplers import chosen_values, start_parameters, suggest
from tuner.study.stopping import Ending, early_ending, final_ending


@dataclass(frozen=True)
class Scale:
    """Reference point and best known value of each objective, and the cost of a full trial.

    `volume` is the hypervolume of the best known front between the two, `strength` that of the
    strongest point; `full` in seconds.
    """

    worst: Floats
    best: Floats
    volume: float
    full: float
    strength: float


@dataclass(frozen=True)
class Run:
    """A replayed study, after each of its trials.

    `costs` in full trials; `volumes` as shares of the best known; `strengths` the true strength of
    the trial that the study would then name, 0 before there is any. `by_model`: that of the trial
    that is named at the end if the strengths are smoothed by a Gaussian process first.
    """

    costs: tuple[float, ...]
    volumes: tuple[float, ...]
    strengths: tuple[float, ...]
    by_model: float


@dataclass
class Memory:
    """What the rules of stopping read of results.db."""

    base: RungRow
    rows: list[RungRow] = field(default_factory=list)

    def base_rates(self) -> Mapping[str, Objective]:
        return self.base.rates

    def states(self) -> dict[int, str]:
        return {}

    def rungs_at(self, step: int, known: Container[int | None] = ()) -> list[RungRow]:
        return [row for row in self.rows if row.step == step and row.trial not in known]


def replay(
    surrogate: Surrogate, scale: Scale, method: Method, told: Telling, seed: int, trials: int
) -> Run:
    """Replay a study with as much to spend as `trials` full trials cost."""
    config = config_of(surrogate.config, method, told, seed, trials)
    study = optuna.create_study(directions=["maximize"] * len(config.objectives))
    for start in start_parameters(config):
        study.enqueue_trial(start)
    memory = Memory(_base(surrogate))
    spent, named, best = 0.0, 0.0, -1.0
    costs, points, strengths = [], [], []
    inputs, lowers, truths = [], [], []
    while spent < trials * scale.full:
        trial = ask(study, config, method)
        suggest(trial, config)
        mean = surrogate.means([trial.params])[0]
        errors = surrogate.noise(mean, np.random.default_rng([seed, trial.number]))
        rungs = surrogate.rungs(trial.params, mean + errors)
        ending, seconds = run_trial(config, memory, trial.number, rungs, method.rungs)
        spent += seconds
        complete(study, trial, ending.values, ending.constraints, ending.reason, ending.behind)
        if ending.state == "complete":
            lower, truth = (
                strength(memory.rows[-1], config.objectives),
                true_strength(surrogate, mean),
            )
            if lower > best:
                best, named = lower, truth
            inputs.append(encoded(surrogate.config, trial.params))
            lowers.append(lower)
            truths.append(truth)
        costs.append(spent / scale.full)
        points.append(_true_point(surrogate, trial.params, mean, ending))
        strengths.append(named)
    by_model = truths[np.argmax(smoothed(np.array(inputs), np.array(lowers)))] if truths else 0.0
    return Run(tuple(costs), tuple(volumes(points, scale)), tuple(strengths), by_model)


def ask(study: optuna.Study, config: StudyConfig, method: Method) -> optuna.Trial:
    """Return the next trial as tuner.study.optuna_study.ask does, of any sampler."""
    before = len(study.get_trials(deepcopy=False)) - (waiting := _waiting(study))
    starts = len(start_parameters(config))
    study.sampler = sampler_for(method, config, starts, before)
    if not waiting and (chosen := chosen_values(config, starts, before)):
        study.enqueue_trial(chosen)
    return study.ask()


def _waiting(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def run_trial(
    config: StudyConfig, memory: Memory, number: int, rungs: Sequence[Rung], stops: bool
) -> tuple[Ending, float]:
    """Return the end of a trial and its seconds; without `stops` only its last rung is judged."""
    seconds = 0.0
    for rung in rungs:
        last = rung is rungs[-1]
        seconds += rung.training + (rung.judging if stops or last else 0.0)
        if not stops and not last:
            continue
        row = rung_row(config, number, rung)
        memory.rows.append(row)
        ending = final_ending(config, row) if last else early_ending(config, memory, row)  # type: ignore[arg-type]
        if ending is not None:
            return ending, seconds
    raise AssertionError("the last rung ends a trial")


def rung_row(config: StudyConfig, number: int | None, rung: Rung) -> RungRow:
    """Return a rung as results.db has it."""
    objectives = {name: each for name, each in rung.measured.items() if name not in LIMITED}
    rates = {name: each for name, each in rung.measured.items() if name in LIMITED}
    return RungRow(number, rung.step, objectives, rates, None, Path())


def _base(surrogate: Surrogate) -> RungRow:
    base = next(row for row in surrogate.rows if row.trial is None)
    return rung_row(surrogate.config, None, base.rungs[0])


def true_strength(surrogate: Surrogate, mean: Floats) -> float:
    """Return the geometric mean of the objectives at the last rung, without noise."""
    return float(mean_strength(mean[-1, : len(surrogate.config.objectives)]))


def keeps_limits(surrogate: Surrogate, parameters: Mapping[str, Value], mean: Floats) -> bool:
    """Return True if a trial without noise would be complete, by the study's own rule."""
    last = surrogate.rungs(parameters, mean)[-1]
    ending = final_ending(surrogate.config, rung_row(surrogate.config, 0, last))
    return ending.state == "complete"


def _true_point(
    surrogate: Surrogate, parameters: Mapping[str, Value], mean: Floats, ending: Ending
) -> Floats:
    """Return the true objectives of a trial, NaN for one that was stopped or breaks a limit."""
    count = len(surrogate.config.objectives)
    if ending.state == "stopped" or not keeps_limits(surrogate, parameters, mean):
        return np.full(count, np.nan)
    return mean[-1, :count]


def volumes(points: Sequence[Floats], scale: Scale) -> list[float]:
    """Return the hypervolume after each point, as a share of the best known."""
    shares = (np.array(points) - scale.worst) / (scale.best - scale.worst)
    return [each / scale.volume for each in hypervolumes([list(row) for row in shares])]


def random_parameters(config: StudyConfig, count: int) -> list[dict[str, Value]]:
    """Return points of the space as random search draws them."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = []
    for _ in range(count):
        trial = study.ask()
        suggest(trial, config)
        points.append(dict(trial.params))
        study.tell(trial, 0.0)
    return points


def measure_scale(surrogate: Surrogate, count: int, share: float) -> tuple[Scale, float]:
    """Return the scale of hypervolumes, and the learning rate of the strongest point.

    Of `count` random points and the table's, without noise, those that keep the limits are the
    best known. The reference point is the quantile `share` of the table's values at the last rung.
    """
    objectives = len(surrogate.config.objectives)
    points = random_parameters(surrogate.config, count)
    points += [dict(row.parameters) for row in surrogate.trials]
    means = surrogate.means(points)
    sound = [i for i, p in enumerate(points) if keeps_limits(surrogate, p, means[i])]
    values = means[sound, -1, :objectives]
    measured = [
        [row.rungs[-1].measured[n].value for n in surrogate.config.objectives]
        for row in surrogate.trials
    ]
    worst, best = np.quantile(np.array(measured), share, axis=0), values.max(axis=0)
    full = float(np.mean([full_cost(surrogate, point) for point in points]))
    strengths = [true_strength(surrogate, means[index]) for index in sound]
    scale = Scale(worst, best, 1.0, full, max(strengths))
    rate = float(str(points[sound[int(np.argmax(strengths))]]["learning_rate"]))
    return replace(scale, volume=volumes(list(values), scale)[-1]), rate


def full_cost(surrogate: Surrogate, parameters: Mapping[str, Value]) -> float:
    """Return the seconds of a trial that is judged only at its last rung."""
    rungs = surrogate.rungs(parameters, np.zeros((len(surrogate.steps), len(surrogate.names))))
    return sum(rung.training for rung in rungs) + rungs[-1].judging
