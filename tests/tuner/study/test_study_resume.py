"""A study that is stopped, killed or cut off goes on where it was."""

from __future__ import annotations

import errno
import multiprocessing
import time
from collections.abc import Generator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState

from metrics.detectors.models import ModelUnavailableError
from tests.tuner.plain_trials import ends, good, new_folder, raising, session, study_config
from tuner.errors import DiskError, Terminated
from tuner.events import Event, RungScored
from tuner.results import read_results
from tuner.space import StudyConfig
from tuner.storage import StudyFolder
from tuner.study.study import search, take_up


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return study_config(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return new_folder(tmp_path)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyboardInterrupt(), "stopped"),
        (Terminated(), "terminated"),
        (DiskError("no room"), "no room"),
        (OSError(errno.ENOSPC, "No space left on device"), "[Errno 28] No space left on device"),
        (ModelUnavailableError("hand_landmarker"), "hand_landmarker"),
    ],
)
def test_a_stop_from_outside_queues_the_trial_again(
    config: StudyConfig, folder: StudyFolder, error: BaseException, reason: str
) -> None:
    events: list[Event] = []
    with session(config, folder) as open_study, pytest.raises(type(error)):
        events.extend(search(open_study, raising(folder, error, at=1)))
    assert ends(events) == [(0, "complete", None), (1, "interrupted", reason)]
    with session(config, folder) as open_study:
        assert list(take_up(open_study)) == []
        again = list(search(open_study, good(folder)))
        trials = open_study.memory.trials
    assert ends(again) == [(2, "complete", None), (3, "complete", None)]
    assert trials[2].params == trials[1].params
    assert trials[2].user_attrs["retry_of"] == 1
    results = read_results(folder)
    assert [one.state for one in results.trials] == [
        "complete", "interrupted", "complete", "complete",
    ]  # fmt: skip
    assert results.trials[2].retry_of == 1
    assert results.finished == 3


def test_a_reader_that_goes_away_stops_the_trial(config: StudyConfig, folder: StudyFolder) -> None:
    with session(config, folder) as open_study:
        events = search(open_study, good(folder))
        assert isinstance(events, Generator)
        for event in events:
            if isinstance(event, RungScored):
                break
        events.close()
        assert open_study.store.trials()[0].state == "interrupted"
        assert [one.state for one in open_study.memory.trials] == [
            TrialState.FAIL,
            TrialState.WAITING,
        ]


def test_what_a_killed_process_left_is_settled(config: StudyConfig, folder: StudyFolder) -> None:
    # A generator that is dropped without being closed is what a kill leaves behind: nothing is
    # told to anyone. `lost` keeps it from the garbage collector.
    lost = []
    with session(config, folder) as open_study:
        events = search(open_study, good(folder))
        for event in events:
            if isinstance(event, RungScored) and event.trial == 1:
                break
        lost.append(events)
    with session(config, folder) as open_study:
        assert ends(list(take_up(open_study))) == [(1, "interrupted", "the process died")]
        assert ends(list(take_up(open_study))) == []
        rest = list(search(open_study, good(folder)))
        states = [one.state for one in open_study.memory.trials]
    assert ends(rest) == [(2, "complete", None), (3, "complete", None)]
    assert TrialState.RUNNING not in states
    assert [one.state for one in read_results(folder).trials] == [
        "complete", "interrupted", "complete", "complete",
    ]  # fmt: skip


def test_killed_between_the_two_memories(config: StudyConfig, folder: StudyFolder) -> None:
    with session(config, folder) as open_study:
        list(search(open_study, good(folder)))
        before = open_study.store.trials()[2]
        open_study.store.end_trial(2, "running")
    assert before.seconds is not None
    with session(config, folder) as open_study:
        assert list(take_up(open_study)) == []
        assert open_study.store.trials()[2] == before


def run_slowly(parent: Path, begun: Connection) -> None:
    folder = StudyFolder(parent / "pose")
    with session(study_config(parent), folder) as open_study:
        list(take_up(open_study))
        begun.send("begun")
        for _ in search(open_study, good(folder)):
            time.sleep(0.02)


@pytest.mark.slow
def test_kills_at_random_times_lose_no_finished_trial(folder: StudyFolder) -> None:
    random = np.random.default_rng(0)
    parent, finished = folder.root.parent, 0
    forked = multiprocessing.get_context("fork")  # a new interpreter would import for seconds
    for _ in range(10):
        here, there = forked.Pipe()
        run = forked.Process(target=run_slowly, args=(parent, there))
        run.start()
        here.recv()
        time.sleep(random.uniform(0, 1))
        run.kill()
        run.join()
        done = sum(one.state == "complete" for one in read_results(folder).trials)
        assert done >= finished
        finished = done
    with session(study_config(parent), folder) as open_study:
        list(take_up(open_study))
        list(search(open_study, good(folder)))
        states = [one.state for one in open_study.memory.trials]
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == 3
    rows = read_results(folder).trials
    assert [one.number for one in rows if one.state == "running"] == []
