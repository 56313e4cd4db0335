"""Optuna's trials in memory are those of the database, whatever is done with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState, create_trial

from tests.tuner.plain_trials import new_folder, study_config
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.study.memory import mirror
from tuner.study.memory.mirror import Mirror, together, write_late
from tuner.study.optuna_db import existing, opened, storage
from tuner.study.optuna_study import begin, complete, fail, prune, requeue


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return study_config(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return new_folder(tmp_path)


@pytest.fixture
def study(config: StudyConfig, folder: StudyFolder) -> Iterator[optuna.Study]:
    with opened(config, folder, {}) as study:
        yield study


def on_disk(folder: StudyFolder) -> list[FrozenTrial]:
    """The trials as another process reads them from optuna.db."""
    with storage(folder) as memory:
        return existing(memory, folder).get_trials()


def test_trials_in_memory_are_those_of_the_database(
    study: optuna.Study, config: StudyConfig, folder: StudyFolder
) -> None:
    for number in range(6):
        trial, _ = begin(study, config, beside=True)
        trial.set_user_attr("sizes", (number, 2))
        match number:
            case 0:
                complete(study, trial, (0.5, 0.25), {"undressed_rate": 0.1}, "late", behind=0.5)
            case 1:
                prune(study, trial, "collapsed")
            case 2:
                requeue(study, trial, "stopped")
            case 3:
                fail(study, trial, "broken")
            case 4:
                trial.storage.set_trial_intermediate_value(trial._trial_id, 3, 0.5)
    study.add_trial(create_trial(state=TrialState.COMPLETE, values=[float("inf"), 0.5]))
    assert isinstance(study._storage, Mirror)
    assert study.get_trials() == on_disk(folder)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "RUNNING", "RUNNING", "COMPLETE"]
    assert study.trials[0].user_attrs["sizes"] == [0, 2]
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_user_attr(study.trials[0]._trial_id, "late", 1)


def test_a_trial_that_was_read_does_not_change(study: optuna.Study, config: StudyConfig) -> None:
    trial, _ = begin(study, config)
    before = study.get_trials(deepcopy=False)[0]
    params = dict(before.params)
    complete(study, trial, (0.5, 0.5), {})
    assert before.state == TrialState.RUNNING
    assert before.params == params
    assert study.get_trials(deepcopy=False)[0].state == TrialState.COMPLETE


def test_changes_together_are_written_at_once_and_all(
    study: optuna.Study, config: StudyConfig, folder: StudyFolder
) -> None:
    trial, _ = begin(study, config)
    with together(trial.storage):
        trial.set_user_attr("a", 1)
        with together(trial.storage):
            trial.set_user_attr("a", 2)
        trial.set_user_attr("b", 3)
        assert "a" not in on_disk(folder)[0].user_attrs
        assert study.trials[0].user_attrs["a"] == 2
    assert (on_disk(folder)[0].user_attrs["a"], on_disk(folder)[0].user_attrs["b"]) == (2, 3)
    with together(trial.storage, now=False):
        trial.set_user_attr("c", 4)
    assert "c" not in on_disk(folder)[0].user_attrs
    trial.set_user_attr("d", 5)
    assert study.get_trials() == on_disk(folder)
    assert study.trials[0].user_attrs["c"] == 4


def test_of_changes_together_none_is_written_after_an_error(
    study: optuna.Study, config: StudyConfig, folder: StudyFolder
) -> None:
    trial, _ = begin(study, config)
    with contextlib.suppress(KeyboardInterrupt), together(trial.storage):
        trial.set_user_attr("c", 4)
        study.ask()
        raise KeyboardInterrupt
    assert study.get_trials() == on_disk(folder)
    assert len(study.trials) == 1
    assert "c" not in study.trials[0].user_attrs
    complete(study, trial, (0.5, 0.5), {})
    assert study.get_trials() == on_disk(folder)


def test_trials_that_others_queue_while_the_study_runs_are_asked_for(
    study: optuna.Study, config: StudyConfig, folder: StudyFolder
) -> None:
    begin(study, config)
    with storage(folder) as memory:
        existing(memory, folder).enqueue_trial({"rank": 8, "learning_rate": 0.002})
    trial, train = begin(study, config)
    assert trial.number == 1
    assert (train.rank, train.learning_rate) == (8, 0.002)
    assert study.get_trials() == on_disk(folder)


def test_after_an_error_the_database_counts(
    study: optuna.Study,
    config: StudyConfig,
    folder: StudyFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial, _ = begin(study, config)

    def full(*_: object) -> None:
        raise sqlalchemy.exc.OperationalError("insert", {}, Exception("disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr(mirror, "write_changes", full)
        with pytest.raises(sqlalchemy.exc.OperationalError):
            complete(study, trial, (0.5, 0.5), {})
    assert study.trials[0].state == TrialState.RUNNING
    assert study.get_trials() == on_disk(folder)
    complete(study, trial, (0.5, 0.5), {})
    assert on_disk(folder)[0].state == TrialState.COMPLETE


def test_as_many_statements_as_tables(
    study: optuna.Study, config: StudyConfig, folder: StudyFolder
) -> None:
    assert isinstance(study._storage, Mirror)
    statements: list[str] = []
    trial, _ = begin(study, config)

    @sqlalchemy.event.listens_for(study._storage.backend.engine, "before_cursor_execute")
    def heard(_c: object, _k: object, statement: str, *_: object) -> None:
        statements.append(statement)

    complete(study, trial, (0.5, 0.5), {"undressed_rate": 0.1}, "why")
    written = [each.split()[:3] for each in statements if not each.startswith("SELECT")]
    assert written == [
        ["INSERT", "INTO", "trial_user_attributes"],
        ["INSERT", "INTO", "trial_system_attributes"],
        ["INSERT", "INTO", "trial_values"],
        ["UPDATE", "trials", "SET"],
    ]


def test_changes_that_waited_for_a_second_are_written(
    study: optuna.Study,
    config: StudyConfig,
    folder: StudyFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial, _ = begin(study, config)
    with together(trial.storage, now=False):
        trial.set_user_attr("c", 4)
    write_late(trial.storage)
    assert "c" not in on_disk(folder)[0].user_attrs
    monkeypatch.setattr(mirror, "_LATE", 0.0)
    write_late(trial.storage)
    assert on_disk(folder)[0].user_attrs["c"] == 4
    with together(trial.storage, now=False):
        trial.set_user_attr("d", 5)
    trial.set_user_attr("e", 6)  # the next change takes it along, and nothing waits any more
    assert study.get_trials() == on_disk(folder)
