"""Optuna's memory of a study: open it, ask it for parameters, tell it how a trial ended.

Trials that die for their own parameters (not finite, collapsed, out of memory) end as PRUNED with
a constraint above 0: of a FAIL Optuna's sampler learns nothing and goes there again and again.
FAIL is for what the parameters cannot help, and the parameters are queued again.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import optuna
import sqlalchemy
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import FrozenTrial, TrialState

from tuner.config import StudyConfig
from tuner.database_errors import BUSY_SECONDS, database_error
from tuner.errors import ConfigError
from tuner.process import lives, this_process
from tuner.rows import RungRow
from tuner.samplers import chosen_values, sampler_of
from tuner.space import space_hash, start_parameters
from tuner.study_folder import StudyFolder

MOST_DEATHS = 3
"""A trial in which the process died this often is held to be the cause of it."""

SOUND = "sound"
"""The constraint that a pruned trial breaks, by 1, and one that did not go on at a rung, by how far
it was behind; 0 in a trial that came through. A key of its own would end studies begun without it:
to a Gaussian process all trials must have as many constraints."""

_HASH, _DATA = "space_hash", "data"
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@contextlib.contextmanager
def opened(
    config: StudyConfig, folder: StudyFolder, data: Mapping[str, str]
) -> Iterator[optuna.Study]:
    """The study in `folder`, new or as it was left, with its start recipes queued.

    data: the hash of each training set by name. Raises ConfigError when the folder holds a study
    of another space, of other data or of other objectives, and TunerError when the database
    cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _telling(folder), storage(folder) as memory:
        study = optuna.create_study(
            storage=memory,
            study_name=config.study,
            directions=["maximize"] * len(config.objectives),
            load_if_exists=True,
        )
        _refuse_changed(study, config, folder, data)
        if _HASH not in study.user_attrs:
            _begin(study, config, data)
        yield study


@contextlib.contextmanager
def storage(folder: StudyFolder) -> Iterator[optuna.storages.RDBStorage]:
    """optuna.db, closed at the end."""
    url = sqlalchemy.URL.create("sqlite", database=str(folder.optuna_db.resolve()))
    memory = optuna.storages.RDBStorage(
        url.render_as_string(), engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}}
    )
    try:
        yield memory
    finally:
        memory.remove_session()
        memory.engine.dispose()


def existing(memory: optuna.storages.RDBStorage, folder: StudyFolder) -> optuna.Study:
    """The study that was begun in `folder`. Raises ConfigError where there is none."""
    names = optuna.get_all_study_names(memory)
    if not names:
        raise ConfigError(f"no study was begun in {folder.root}")
    return optuna.load_study(study_name=names[0], storage=memory)


def _begin(study: optuna.Study, config: StudyConfig, data: Mapping[str, str]) -> None:
    for recipe in start_parameters(config):
        study.enqueue_trial(recipe, skip_if_exists=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(config.objectives))
    study.set_user_attr(_DATA, dict(data))
    study.set_user_attr("objectives", list(config.objectives))
    # Written last: without it the study was never begun, and all of the above is done again.
    study.set_user_attr(_HASH, space_hash(config))


def _refuse_changed(
    study: optuna.Study, config: StudyConfig, folder: StudyFolder, data: Mapping[str, str]
) -> None:
    known = study.user_attrs
    if _HASH not in known:
        return
    another = f"give this one another name (`study:` in its file), or move {folder.root} away"
    objectives = list(config.objectives)
    if known["objectives"] != objectives or len(study.directions) != len(objectives):
        raise ConfigError(
            f"{folder.root} was begun with the objectives {known['objectives']}, not "
            f"{objectives}; {another}"
        )
    if known[_HASH] != space_hash(config):
        raise ConfigError(
            f"{folder.root} was begun with another search space (it is in "
            f"{folder.study_yaml.name} there); results of two spaces cannot be mixed: {another}"
        )
    changed = sorted(name for name, sha in data.items() if known[_DATA].get(name) != sha)
    if changed:
        raise ConfigError(
            f"the training pictures of {', '.join(changed)} changed since {folder.root} was "
            f"begun; put them back, or {another}"
        )


def settle_dead(study: optuna.Study) -> list[tuple[int, str]]:
    """End the trials whose process is gone and queue their parameters again.

    Whoever calls holds the study's lock, so a running trial of this very process is one that it
    lost. Returns the trials that were ended, each with the reason.
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
    """How many of `trials` have still to be finished: completed or pruned."""
    return max(0, trials - len(study.get_trials(deepcopy=False, states=_FINISHED)))


def ask(study: optuna.Study, config: StudyConfig, beside: bool = False) -> optuna.Trial:
    """The next trial, marked as this process's; `beside` others that may be running.

    The sampler is seeded anew for each trial, with how many were asked for before it (retries
    not counted): a study that was stopped and taken up again asks for what it would have asked
    for without the break, and does not draw its first random points a second time.
    """
    trials = study.get_trials(deepcopy=False)
    queued = [one for one in trials if one.state == TrialState.WAITING]
    asked = sum("retry_of" not in one.user_attrs for one in trials if one not in queued)
    tried = [one.params for one in trials if one.state in (*_FINISHED, TrialState.RUNNING)]
    recipes = len(start_parameters(config))
    study.sampler = sampler_of(config, recipes, asked, beside)
    if not queued and (chosen := chosen_values(config, recipes, asked, tried)):
        study.enqueue_trial(chosen)
    trial = study.ask()
    trial.set_user_attr("owner", this_process())
    return trial


def note_rung(trial: optuna.Trial, rung: RungRow, artifacts: Path) -> None:
    """Keep a rung in the running trial: its grid as an artifact, and its numbers, which are
    [value, low, high, judged, asked] by name.

    Optuna takes nothing more for a trial once it is told, so a grid goes in as soon as it is there.
    """
    numbers = {
        one.name: [one.value, one.low, one.high, one.n, one.total]
        for one in [*rung.objectives.values(), *rung.rates.values()]
    }
    trial.set_user_attr(f"rung_{rung.step:04d}", numbers)
    attach_picture(trial, rung.grid, f"step_{rung.step:06d}.png", artifacts)


def attach_picture(
    owner: optuna.Trial | optuna.Study, picture: Path, name: str, artifacts: Path
) -> None:
    """Copy `picture` (PNG) below `artifacts` and note it with the trial or study as `name`."""
    artifacts.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=artifacts, prefix=".") as own:
        copy = shutil.copyfile(picture, Path(own) / name)
        upload_artifact(
            artifact_store=FileSystemArtifactStore(artifacts),
            file_path=str(copy),
            study_or_trial=owner,
            mimetype="image/png",
        )


def complete(
    study: optuna.Study,
    trial: optuna.Trial,
    values: Sequence[float],
    constraints: Mapping[str, float],
    reason: str | None = None,
    behind: float = 0.0,
) -> None:
    """Tell a trial's objectives, and its constraints: above 0 is broken, and `reason` says why.

    One that did not go on was `behind`: so it is on no front, neither Optuna's nor the
    dashboard's, and for the sampler it is worse than every trial that came through.
    """
    if reason is not None:
        trial.set_user_attr("reason", reason)
    set_constraints(trial, {**constraints, SOUND: behind})
    study.tell(trial, list(values))


def prune(study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
    """End a trial that its parameters brought down."""
    trial.set_user_attr("reason", reason)
    set_constraints(trial, {SOUND: 1.0})
    study.tell(trial, state=TrialState.PRUNED)


def fail(study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
    """End a trial that failed for a reason outside its parameters."""
    trial.set_user_attr("reason", reason)
    study.tell(trial, state=TrialState.FAIL)


def requeue(
    study: optuna.Study, trial: optuna.Trial, reason: str, deaths: int | None = None
) -> None:
    """End a trial that was stopped from outside and queue its parameters again, once."""
    if deaths is None:
        deaths = int(trial.user_attrs.get("deaths", 0))
    # A recipe that was queued and not yet read by `suggest` is not in `params`.
    queued = trial.storage.get_trial_system_attrs(trial._trial_id).get("fixed_params", {})
    parameters = {**queued, **trial.params}
    others = study.get_trials(deepcopy=False)
    if all(one.user_attrs.get("retry_of") != trial.number for one in others):
        first = trial.user_attrs.get("first_try", trial.number)
        told = {"retry_of": trial.number, "first_try": first, "deaths": deaths}
        study.enqueue_trial(parameters, told)
    fail(study, trial, reason)


def set_constraints(trial: optuna.Trial, constraints: Mapping[str, float]) -> None:
    """Say how far each constraint is broken, to Optuna and to the dashboard.

    optuna-dashboard 0.21 reads only the list that Optuna kept before version 5, so the values go
    there as well; Optuna then counts each twice, which changes neither who is feasible nor the
    order of those who are not. A test fails once the dashboard reads the new ones.
    """
    for name, value in constraints.items():
        trial.set_constraint(name, value)
    trial.storage.set_trial_system_attr(
        trial._trial_id, "constraints", [float(value) for value in constraints.values()]
    )


def ended(study: optuna.Study) -> dict[int, str]:
    """The state in the words of `tuner.events` of each trial that Optuna knows as over."""
    over = (one for one in study.get_trials(deepcopy=False) if one.state.is_finished())
    return {one.number: _state(one) for one in over}


def reasons(study: optuna.Study) -> dict[int, str]:
    """Why trials that did not complete are over, as far as Optuna was told."""
    told = [one for one in study.get_trials(deepcopy=False) if "reason" in one.user_attrs]
    return {one.number: one.user_attrs["reason"] for one in told}


def _state(trial: FrozenTrial) -> str:
    if trial.state != TrialState.COMPLETE:
        return "pruned" if trial.state == TrialState.PRUNED else "failed"
    if trial.constraints.get(SOUND, 0.0) > 0:
        return "stopped"
    return "infeasible" if any(value > 0 for value in trial.constraints.values()) else "complete"


@contextlib.contextmanager
def _telling(folder: StudyFolder) -> Iterator[None]:
    """Turn an error of the database below Optuna into one line for the user."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, sqlite3.Error):
            cause = cause.__cause__ or getattr(cause, "orig", None)
        if cause is None:
            raise
        raise database_error(cause, folder.optuna_db) from error
