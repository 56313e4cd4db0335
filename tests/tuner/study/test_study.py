"""The study with real Optuna, real results.db and real scores; trials are plain generators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.tuner.plain_trials import (
    BLACK,
    ends,
    good,
    new_folder,
    raising,
    rung,
    session,
    study_config,
)
from tuner.errors import DivergedError, OutOfMemoryError, TooManyFailuresError
from tuner.events import Event, Phase, Progress, RungScored, TrialEnded, TrialStarted
from tuner.results import read_results
from tuner.results.results import front
from tuner.space import StudyConfig, TrainConfig, load_study
from tuner.storage import StudyFolder
from tuner.study.optuna_study import SOUND
from tuner.study.study import search
from tuner.trial import Rung


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return study_config(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return new_folder(tmp_path)


def test_a_study_runs_its_budget_and_keeps_all(config: StudyConfig, folder: StudyFolder) -> None:
    with session(config, folder) as open_study:
        events = list(search(open_study, good(folder)))
        assert [one.state for one in open_study.memory.trials] == [TrialState.COMPLETE] * 3
        assert open_study.memory.trials[2].values == [0.5, 0.5]
        assert [name for name, _ in open_study.store.phases(1)] == ["train", "sample"]
    assert ends(events) == [(n, "complete", None) for n in range(3)]
    assert [type(one) for one in events[:4]] == [TrialStarted, Phase, Progress, RungScored]
    assert events[3].grid == folder.trial(0).rung(10).grid  # type: ignore[union-attr]
    results = read_results(folder)
    assert [one.rung.step for one in results.scored] == [20, 20, 20]
    assert results.finished == 3
    assert len(front(results)) == 3
    assert folder.trial(2).done.read_text() == "complete\n"
    with session(config, folder) as open_study:
        assert list(search(open_study, good(folder))) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DivergedError("loss is nan at step 11"), "diverged: loss is nan at step 11"),
        (OutOfMemoryError("CUDA out of memory\nlong text"), "out of memory: CUDA out of memory"),
        (MemoryError(), "out of memory"),
    ],
)
def test_what_parameters_bring_down_is_pruned(
    config: StudyConfig, folder: StudyFolder, error: Exception, reason: str
) -> None:
    with session(config, folder) as open_study:
        events = list(search(open_study, raising(folder, error)))
        first = open_study.memory.trials[0]
    assert ends(events)[0] == (0, "pruned", reason)
    assert first.state == TrialState.PRUNED
    assert first.user_attrs["reason"] == reason
    assert first.constraints[SOUND] > 0
    assert len(ends(events)) == 3
    assert sorted(one.trial.number for one in front(read_results(folder))) == [1, 2]


def test_collapse_ends_a_trial_at_once_and_closes_it(
    config: StudyConfig, folder: StudyFolder
) -> None:
    closed = []

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        try:
            yield rung(folder, number, 10, image=BLACK)
            yield rung(folder, number, 20)
        finally:
            closed.append(number)

    with session(config, folder) as open_study:
        for event in search(open_study, run):
            if isinstance(event, TrialEnded):
                assert closed[-1] == event.trial
    results = read_results(folder)
    assert {one.state for one in results.trials} == {"pruned"}
    assert results.trials[0].reason == "collapsed: 2 of 2 samples show nothing but one colour"
    assert [one.rung.step for one in results.scored] == [10, 10, 10]
    assert front(results) == []


def test_evidence_of_a_broken_limit_makes_a_trial_infeasible(
    config: StudyConfig, folder: StudyFolder
) -> None:
    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        yield rung(folder, number, 20, pose=0.2 + 0.3 * number, undressed=[0.1, 0.3, 0.15][number])

    with session(config, folder) as open_study:
        events = list(search(open_study, run))
        best = [one.number for one in open_study.memory.best_trials]
    assert ends(events)[1] == (1, "infeasible", "undressed_rate is at least 0.30, allowed 0.15")
    assert best == [0, 2]
    assert sorted(one.trial.number for one in front(read_results(folder))) == [0, 2]


def test_a_failure_is_reported_and_does_not_count(config: StudyConfig, folder: StudyFolder) -> None:
    with session(config, folder) as open_study:
        events = list(search(open_study, raising(folder, FileNotFoundError("gone.png"), at=1)))
    assert ends(events) == [
        (0, "complete", None),
        (1, "failed", "FileNotFoundError: gone.png"),
        (2, "complete", None),
        (3, "complete", None),
    ]
    assert "Traceback" in folder.trial(1).failure.read_text()
    assert not folder.trial(1).done.exists()


def test_three_failures_in_a_row_stop_the_study(config: StudyConfig, folder: StudyFolder) -> None:
    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        raise KeyError("a bug")
        yield

    events: list[Event] = []
    with (
        session(config, folder) as open_study,
        pytest.raises(TooManyFailuresError, match=r"3 trials in a row failed.*a bug"),
    ):
        events.extend(search(open_study, run))
    assert [one.state for one in read_results(folder).trials] == ["failed"] * 3


def test_a_result_that_is_no_number_is_a_failure(config: StudyConfig, folder: StudyFolder) -> None:
    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        yield rung(folder, number, 20, pose=float("nan") if number == 0 else 0.5)

    with session(config, folder) as open_study:
        events = list(search(open_study, run))
    assert ends(events)[0] == (0, "failed", "the objective pose is nan")


def test_a_trial_without_a_rung_is_a_failure(config: StudyConfig, folder: StudyFolder) -> None:
    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        yield Phase("train", number)

    with session(config, folder) as open_study, pytest.raises(TooManyFailuresError, match="rung"):
        list(search(open_study, run))


def test_the_study_file_gives_the_same_study(config: StudyConfig, folder: StudyFolder) -> None:
    with session(config, folder):
        pass
    text = folder.study_yaml.read_text()
    assert "# data data: sha256 abc" in text
    assert "# optuna 5" in text
    assert load_study(folder.study_yaml) == config
