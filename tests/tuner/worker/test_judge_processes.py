"""A worker with judge processes, as on a machine of many cores: it gives the same scores."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

import tuner.worker.process
from metrics.contract import Score
from tests.tuner.tiny_space import write_space
from tuner.events import Event, Phase, Retried, TrialEnded
from tuner.space import load_study
from tuner.storage import Store, StudyFolder
from tuner.study import run_study
from tuner.worker.process import begin

pytestmark = pytest.mark.slow


def begin_with_judges(*arguments: Any) -> None:
    vars(tuner.worker.process)["judge_processes"] = lambda *machine: 2
    begin(*arguments)


def spawned() -> list[psutil.Process]:
    """Every process below this one that multiprocessing spawned, without its resource tracker."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if "spawn_main" in " ".join(process.cmdline())]


def judge_processes() -> list[psutil.Process]:
    """The children of the worker."""
    return [process for process in spawned() if process.ppid() != os.getpid()]


def test_a_killed_judge_process_costs_a_worker_and_changes_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "space").mkdir()
    config = load_study(write_space(tmp_path / "space"), trials=1, set_values=("budget.rungs=[1]",))
    scores: list[list[dict[str, Score]]] = []
    events: list[Event] = []
    for name in ("alone", "judges"):
        folder = StudyFolder(tmp_path / name / "faults")
        killed = name == "alone"
        for event in run_study(config, folder):
            events.append(event)
            if event == Phase("score", 0) and not killed:
                judges = judge_processes()
                assert len(judges) == 2
                for judge in judges:
                    os.kill(judge.pid, signal.SIGKILL)
                killed = True
        with Store(folder.results_db, read_only=True) as store:
            rows = [*store.samples(None, 0), *store.samples(0, 1)]
        scores.append([dict(row.scores) for row in rows])
        monkeypatch.setattr("tuner.worker.channel.begin", begin_with_judges)
    assert scores[0] == scores[1]
    assert [event.reason for event in events if isinstance(event, Retried)] == [
        "the worker ended because a judge process was killed (SIGKILL); "
        "a new one continues from the start"
    ]
    assert [event.state for event in events if isinstance(event, TrialEnded)] == ["complete"] * 2
    assert spawned() == []
