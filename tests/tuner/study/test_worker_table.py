"""What the workers do is in running.json while the study runs, and gone afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tuner.plain_trials import good, new_folder, session, study_config
from tuner.events import Phase, Progress, TrialStarted
from tuner.results.running import IDLE, STARTING, read_running
from tuner.storage import StudyFolder, locked
from tuner.study.memory import workers as module
from tuner.study.memory.workers import WorkerTable
from tuner.study.study import search
from tuner.worker import Worker
from tuner.worker.channel import Host


class Placed(Worker):
    """A worker that is never started, on a machine with a name."""

    node = "gpu-1"


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return new_folder(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the table, in seconds, as its only element."""
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def table_of(folder: StudyFolder, count: int = 2) -> WorkerTable:
    host: Host = None  # type: ignore[assignment] # nothing is started
    return WorkerTable(folder, [Placed(host) for _ in range(count)])


def test_each_worker_has_its_phase_its_step_and_its_idle_time(
    folder: StudyFolder, clock: list[float]
) -> None:
    table = table_of(folder)
    with locked(folder.lock):
        table.note(0, 7, 0, TrialStarted(7, {}))
        table.note(0, 7, 0, Phase("train", 7))
        clock[0] += 10
        table.note(0, 7, 0, Progress(5, 20, 1.0, trial=7))
        table.note(1, 8, 2, TrialStarted(8, {}))
        running = read_running(folder)
        assert running is not None
        first, second = running.workers
        assert (first.node, first.doing, first.trial, first.step, first.of) == (
            "gpu-1", "train", 7, 5, 20,
        )  # fmt: skip
        assert (second.doing, second.trial, second.repeat) == (STARTING, 8, 2)
        assert (running.trials, running.idle) == (2, 0.0)
        clock[0] += 10
        table.free(0)
        clock[0] += 5
        table.note(1, 8, 2, Phase("sample", 8))
        running = read_running(folder)
        assert running is not None
        assert (running.workers[0].doing, running.workers[0].trial) == (IDLE, None)
        assert running.workers[0].idle_seconds == 5
        assert running.workers[0].known_seconds == 25
        assert running.idle == pytest.approx(5 / 40)
        clock[0] += 5
        table.note(0, 9, 0, TrialStarted(9, {}))
        clock[0] += 10
        table.note(0, 9, 0, Phase("train", 9))
        running = read_running(folder)
        assert running is not None
        assert running.workers[0].idle_seconds == 10
    table.close()
    assert not folder.running.exists()


def test_much_that_happens_is_written_once_a_second(
    folder: StudyFolder, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    monkeypatch.setattr(Path, "replace", lambda *paths: written.append(clock[0]))
    table = table_of(folder, 64)
    for event in range(1000):
        clock[0] += 0.01
        table.note(event % 64, event % 64, 0, Phase("train", event))
    assert 10 <= len(written) <= 16  # ten seconds, and the first five at once
    clock[0] += 100
    written.clear()
    for done in range(5):
        table.note(0, 0, 0, Progress(done, 20, 1.0))
    assert len(written) == 1


def test_a_file_of_a_killed_run_does_not_count(folder: StudyFolder) -> None:
    table = table_of(folder)
    with locked(folder.lock):
        table.note(0, 1, 0, TrialStarted(1, {}))
        assert read_running(folder) is not None
        folder.running.write_text("{")
        assert read_running(folder) is None
    table.note(0, 1, 0, Phase("train", 1))
    assert json.loads(folder.running.read_text())["workers"]
    assert read_running(folder) is None  # nobody holds the lock


def test_a_disk_without_room_stops_no_study(folder: StudyFolder) -> None:
    table = WorkerTable(StudyFolder(folder.root / "gone"), [])
    table.note(0, 1, 0, Phase("train", 1))
    table.close()


def test_a_search_tells_the_table(tmp_path: Path, folder: StudyFolder) -> None:
    config = study_config(tmp_path)
    table = table_of(folder)
    with locked(folder.lock), session(config, folder) as study:
        for event in search(study, good(folder), good(folder), table=table):
            running = read_running(folder)
            assert running is not None
            if isinstance(event, Phase) and len(running.workers) == 2:
                seen = {worker.trial for worker in running.workers}
                assert event.trial in seen or running.written
    table.close()
    assert not folder.running.exists()
