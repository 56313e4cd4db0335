"""Optuna's side of a running study: ask for parameters, report how a trial ended.

A trial that fails because of its own parameters (not finite, collapsed, out of memory) ends as
PRUNED with a constraint above 0: Optuna's samplers learn nothing from FAIL and would try the same
region again and again. FAIL is for causes outside the parameters, which are then queued again.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import optuna
from optuna.artifacts import ArtifactMeta
from optuna.artifacts._upload import ARTIFACTS_ATTR_PREFIX
from optuna.study._tell import _tell_with_warning
from optuna.trial import FrozenTrial, TrialState

from tuner.space import StudyConfig, TrainConfig
from tuner.storage.lock import lives, this_process
from tuner.storage.rows import RungRow
from tuner.study.memory.mirror import together
from tuner.study.samplers import chosen_values, sampler_of, start_parameters, suggest

MOST_DEATHS = 3
"""A trial in which the process died this often is taken to be the cause, and is pruned."""

SOUND = "sound"
"""Constraint of every trial: 1 for a pruned trial, in (0, 1] for one that was stopped at a rung
(how far behind it was), 0 for a trial that reached its last rung. Pruned and stopped trials share
it because Optuna's Gaussian process needs the same number of constraints in all trials."""

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def settle_dead(study: optuna.Study) -> list[tuple[int, str]]:
    """End the trials whose process is gone and queue their parameters again.

    The caller holds the study's lock, so a trial that is marked as running in this very process
    was lost earlier. Returns the trials that were ended, each with the reason.
    """
    settled = []
    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        owner = frozen.user_attrs.get("owner")
        if owner is not None and owner != this_process() and lives(owner):
            continue
        deaths = int(frozen.user_attrs.get("deaths", 0)) + 1
        trial = optuna.Trial(study, frozen._trial_id)
        if deaths >= MOST_DEATHS:
            reason = f"the process died {deaths} times in this trial"
            prune(study, trial, reason)
        else:
            reason = "the process died"
            requeue(study, trial, reason, deaths)
        settled.append((frozen.number, reason))
    return settled


def remaining(study: optuna.Study, trials: int) -> int:
    """Count how many of `trials` are still to be finished, that is completed or pruned."""
    return max(0, trials - len(study.get_trials(deepcopy=False, states=_FINISHED)))


def begin(
    study: optuna.Study, config: StudyConfig, beside: bool = False
) -> tuple[optuna.Trial, TrainConfig]:
    """Return the next trial, as `ask` does, and its training run; both are in optuna.db then."""
    with together(study._storage):
        trial = ask(study, config, beside)
        return trial, suggest(trial, config)


def ask(study: optuna.Study, config: StudyConfig, beside: bool = False) -> optuna.Trial:
    """Return the next trial, marked with this process as its owner.

    `beside` says that other trials may be running. The sampler is seeded for each trial with the
    number of trials before it (retries not counted): a study that was stopped and continued gets
    the same parameters as one that ran through, and does not repeat its first random points.
    """
    trials = study.get_trials(deepcopy=False)
    queued = [trial for trial in trials if trial.state == TrialState.WAITING]
    begun = [trial for trial in trials if trial.state != TrialState.WAITING]
    before = sum("retry_of" not in trial.user_attrs for trial in begun)
    tried = (trial.params for trial in begun if trial.state != TrialState.FAIL)
    starts = len(start_parameters(config))
    study.sampler = sampler_of(config, starts, before, beside, study.sampler)
    if not queued and (chosen := chosen_values(config, starts, before, tried)):
        study.enqueue_trial(chosen)
    trial = study.ask()
    trial.set_user_attr("owner", this_process())
    return trial


def note_rung(trial: optuna.Trial, rung: RungRow, artifacts: Path) -> None:
    """Attach a rung to the running trial: its grid as an artifact, and its objectives and rates.

    Each number is kept as [value, low, high, judged samples, all samples] under its name. Optuna
    accepts nothing more for a trial once it has ended, so a grid is attached as soon as it exists.
    It is for those who watch: written with Optuna's next change or by `write_late`, and lost with
    the trial if the run is killed before.
    """
    measured = [*rung.objectives.values(), *rung.rates.values()]
    numbers = {
        rate.name: [rate.value, rate.low, rate.high, rate.n, rate.total] for rate in measured
    }
    with together(trial.storage, now=False):
        trial.set_user_attr(f"rung_{rung.step:04d}", numbers)
        attach_picture(trial, rung.grid, f"step_{rung.step:06d}.png", artifacts)


def attach_picture(
    owner: optuna.Trial | optuna.Study, picture: Path, name: str, artifacts: Path
) -> None:
    """Attach `picture` (PNG) to a trial or study as `name`, with a second name below `artifacts`.

    As `optuna.artifacts.upload_artifact`, which would read and write each picture again.
    """
    meta = ArtifactMeta(str(uuid.uuid4()), name, "image/png", None)
    key, text = ARTIFACTS_ATTR_PREFIX + meta.artifact_id, json.dumps(asdict(meta))
    if isinstance(owner, optuna.Study):
        owner._storage.set_study_system_attr(owner._study_id, key, text)
    else:
        owner.storage.set_trial_system_attr(owner._trial_id, key, text)
    artifacts.mkdir(exist_ok=True)
    try:
        os.link(picture, artifacts / meta.artifact_id)
    except OSError:  # a file system without second names, or a limit of them
        shutil.copyfile(picture, artifacts / meta.artifact_id)


def complete(
    study: optuna.Study,
    trial: optuna.Trial,
    values: Sequence[float],
    constraints: Mapping[str, float],
    reason: str | None = None,
    behind: float = 0.0,
) -> None:
    """End a trial with its objectives and constraints (above 0: broken, for `reason`).

    A trial that was stopped at a rung has `behind` above 0. That keeps it off Optuna's front and
    the dashboard's, and makes it worse for the sampler than every trial that was not stopped.
    """
    with together(trial.storage):
        if reason is not None:
            trial.set_user_attr("reason", reason)
        set_constraints(trial, {**constraints, SOUND: behind})
        _tell_with_warning(study, trial, list(values))  # `tell` also copies the whole trial


def prune(study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
    """End a trial that failed because of its parameters."""
    with together(trial.storage):
        trial.set_user_attr("reason", reason)
        set_constraints(trial, {SOUND: 1.0})
        study.tell(trial, state=TrialState.PRUNED)


def fail(study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
    """End a trial that failed for a reason outside its parameters."""
    with together(trial.storage):
        trial.set_user_attr("reason", reason)
        study.tell(trial, state=TrialState.FAIL)


def requeue(
    study: optuna.Study, trial: optuna.Trial, reason: str, deaths: int | None = None
) -> None:
    """End a trial that was interrupted and queue its parameters again, once."""
    if deaths is None:
        deaths = int(trial.user_attrs.get("deaths", 0))
    # Parameters that were queued and not yet read by `suggest` are not in `params`.
    queued = trial.storage.get_trial_system_attrs(trial._trial_id).get("fixed_params", {})
    parameters = {**queued, **trial.params}
    others = study.get_trials(deepcopy=False)
    if all(other.user_attrs.get("retry_of") != trial.number for other in others):
        first = trial.user_attrs.get("first_try", trial.number)
        attributes = {"retry_of": trial.number, "first_try": first, "deaths": deaths}
        study.enqueue_trial(parameters, attributes)
    fail(study, trial, reason)


def set_constraints(trial: optuna.Trial, constraints: Mapping[str, float]) -> None:
    """Store how far each constraint is broken, for Optuna and for the dashboard.

    optuna-dashboard 0.21 reads only the list that Optuna used before version 5, so the values are
    stored there as well. Optuna then counts each twice, which changes neither which trials are
    feasible nor the order of the others. A test fails once the dashboard reads the new ones.
    """
    for name, value in constraints.items():
        trial.set_constraint(name, value)
    trial.storage.set_trial_system_attr(
        trial._trial_id, "constraints", [float(value) for value in constraints.values()]
    )


def ended(study: optuna.Study) -> dict[int, str]:
    """Return the state of each finished trial by number, in the words of `tuner.events`."""
    finished = (trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished())
    return {trial.number: _state(trial) for trial in finished}


def reasons(study: optuna.Study) -> dict[int, str]:
    """Return the reason of each trial that did not complete, by number, where Optuna has one."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if "reason" in trial.user_attrs]
    return {trial.number: trial.user_attrs["reason"] for trial in trials}


def _state(trial: FrozenTrial) -> str:
    if trial.state != TrialState.COMPLETE:
        return "pruned" if trial.state == TrialState.PRUNED else "failed"
    if trial.constraints.get(SOUND, 0.0) > 0:
        return "stopped"
    return "infeasible" if any(value > 0 for value in trial.constraints.values()) else "complete"
