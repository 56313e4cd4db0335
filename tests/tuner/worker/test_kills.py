"""SIGKILLs of the worker and of the process that runs the study, in every kind of work."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from optuna.trial import TrialState

from tests.tuner.tiny_space import write_space
from tuner.results import read_results
from tuner.results.results import Results
from tuner.space import load_study
from tuner.storage import Store, StudyFolder
from tuner.study import run_study
from tuner.study.optuna_db import existing, storage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

MOMENTS = ("train", "score", "write")
"""Of the controller's death. While the worker samples, the controller waits as it does while the
worker scores."""
TRIALS = 5
RUN = """
import sys
from pathlib import Path
from tuner.events import Phase, RungScored, TrialEnded
from tuner.space.load import load_study
from tuner.study.study import run_study
from tuner.storage.folder import StudyFolder

config = load_study(Path(sys.argv[1]), trials=int(sys.argv[3]))
for event in run_study(config, StudyFolder(Path(sys.argv[2]))):
    match event:
        case Phase(name, trial) if trial is not None or name == "load":
            print(name, flush=True)
        case RungScored(trial) if trial is not None:
            print("rung", flush=True)
        case TrialEnded(trial, state):
            print("ended", trial, state, flush=True)
"""


class Running:
    """A study under way in a process of its own, and what it says."""

    def __init__(self, space: Path, folder: StudyFolder) -> None:
        command = [sys.executable, "-c", RUN, str(space), str(folder.root), str(TRIALS)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.lines = iter(self.process.stdout)
        self.folder = folder

    def worker(self) -> psutil.Process:
        """Its worker: of its children the one that is no resource tracker."""
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    return child
        raise AssertionError("no worker")

    def at(self, moment: str, random: np.random.Generator) -> bool:
        """Wait for the moment, and somewhat longer; False where the study is over before."""
        awaited = "score" if moment == "write" else moment
        if awaited not in (line.strip() for line in self.lines):
            return False
        if moment == "write":
            logs = [Path(f"{one}-wal") for one in (self.folder.results_db, self.folder.optuna_db)]
            before = [one.stat().st_mtime_ns for one in logs]
            until = time.monotonic() + 120
            while [one.stat().st_mtime_ns for one in logs] == before and time.monotonic() < until:
                pass
        else:
            time.sleep(float(random.uniform(0, 0.5)))
        return True

    def kill_all(self) -> None:
        """Kill the process that runs the study; what it started has to go with it."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(started, timeout=20)
        assert alive == []


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_space(tmp_path_factory.mktemp("space"))


def finished(folder: StudyFolder) -> dict[int, tuple[object, ...]]:
    """What is known of each finished trial."""
    if not folder.exists():
        return {}
    results = read_results(folder)
    over = [one for one in results.trials if one.state in ("complete", "infeasible", "stopped")]
    return {
        one.number: (one.state, str(one.parameters), str(results.rungs[one.number])) for one in over
    }


def counted(results: Results) -> list[tuple[object, ...]]:
    """Parameters, state and numbers of the trials that count, in the order of the asking."""
    return [
        (one.parameters, one.state, [(r.step, r.objectives) for r in results.rungs[one.number]])
        for one in results.trials
        if one.state != "interrupted"
    ]


def test_kills_lose_nothing_and_double_nothing(space: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    folder = StudyFolder(tmp_path / "killed" / "faults")
    # A worker's death in training, sampling and scoring has a test in test_worker_faults.
    kills = [("write", "worker"), *((moment, "controller") for moment in MOMENTS)]
    running = Running(space, folder)
    known: dict[int, tuple[object, ...]] = {}
    for moment, victim in kills:
        if victim == "controller":
            # Killed three times in one trial it would rightly take the trial for the cause.
            assert any(re.match(r"ended \d+ complete", line) for line in running.lines)
        assert running.at(moment, random), "the study was over before the last kill"
        if victim == "worker":
            running.worker().send_signal(signal.SIGKILL)
            # What it had said before is old news; another one starts.
            assert "load" in (line.strip() for line in running.lines)
        else:
            running.kill_all()
        now = finished(folder)
        assert known.items() <= now.items()
        known = now
        if victim == "controller":
            running = Running(space, folder)
    for _ in running.lines:
        pass
    assert running.process.wait() == 0
    calm = StudyFolder(tmp_path / "calm" / "faults")
    list(run_study(load_study(space, trials=TRIALS), calm))
    assert_whole(folder, calm)


def assert_whole(folder: StudyFolder, calm: StudyFolder) -> None:
    """The study holds what an undisturbed one of the same seed holds, once, and no halves."""
    killed, whole = read_results(folder), read_results(calm)
    assert killed.finished == whole.finished == TRIALS
    assert {one.state for one in killed.trials} == {"complete", "interrupted"}
    assert sorted(map(str, counted(killed))) == sorted(map(str, counted(whole)))
    with storage(folder) as memory:
        states = [one.state for one in existing(memory, folder).trials]
    assert states.count(TrialState.COMPLETE) == TRIALS
    assert set(states) == {TrialState.COMPLETE, TrialState.FAIL}
    with Store(folder.results_db, read_only=True) as store:
        for trial in killed.trials:
            if trial.state == "complete":
                for step in (1, 2):
                    rows = store.samples(trial.number, step)
                    assert [row.cell for row in rows] == [0, 1]
                    assert all(row.path.is_file() for row in rows)
    assert list(left_over(folder.root)) == []


def left_over(root: Path) -> Iterator[str]:
    """Halves of files that a killed process left."""
    for path, _, names in os.walk(root):
        yield from (
            f"{path}/{name}" for name in names if re.search(r"\.tmp|-journal|-wal|-shm", name)
        )


def test_a_command_that_is_killed_at_its_start_goes_on(space: Path, tmp_path: Path) -> None:
    studies, script = tmp_path / "studies", "from tuner.cli.app import main; main()"
    command = [sys.executable, "-c", script, "run", str(space), "--trials", "1", "--workers", "1"]
    command += ["--studies", str(studies)]
    folder = StudyFolder(studies / "faults")
    for awaited in (folder.lock, folder.optuna_db, folder.results_db, folder.study_yaml):
        run = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        while not awaited.exists():
            assert run.poll() is None, f"ended before {awaited.name}"
            time.sleep(0.001)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = read_results(folder)
    assert [trial.state for trial in results.trials] == ["complete"]
    assert list(left_over(folder.root)) == []
