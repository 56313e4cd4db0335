"""`tuner status --watch` and `--json` show what the workers of a running study do."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.tuner.report_studies import new_study
from tuner.cli.app import app
from tuner.report import watch as module
from tuner.report.watch import read_progress, view, watch
from tuner.storage import Store, StudyFolder, locked
from tuner.storage.columns import utc_now
from tuner.storage.rows import RunRow

WORKERS = [
    {"place": 0, "node": "gpu-1", "doing": "train", "trial": 1, "repeat": 0, "step": 50, "of": 120,
     "since": "2026-01-01T00:00:00+00:00", "idle_seconds": 1.0, "known_seconds": 100.0},
    {"place": 1, "node": None, "doing": "idle", "trial": None, "repeat": 0, "step": None,
     "of": None, "since": "2026-01-01T00:00:00+00:00", "idle_seconds": 5.0, "known_seconds": 100.0},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A study of which one trial of three is done, and 1800 s of its hour are spent."""
    folder = new_study(tmp_path)
    with Store(folder.results_db) as store:
        study = store.study()
        assert study is not None
        store.put_study(type(study)(**vars(study) | {"hours": 1.0}))
        store.begin_trial(0, {})
        store.end_trial(0, "complete", seconds=60.0)
        store.begin_trial(1, {})
        store.put_run(RunRow(0, utc_now(), 1800.0, 1700.0))
    return folder


@pytest.fixture
def running(folder: StudyFolder) -> Iterator[StudyFolder]:
    text = {"begun": utc_now(), "written": utc_now(), "workers": WORKERS}
    with locked(folder.lock):
        folder.running.write_text(json.dumps(text))
        yield folder


def shown(folder: StudyFolder) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(view(read_progress(folder), plain=True))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_table_says_who_does_what_where_and_what_is_left(running: StudyFolder) -> None:
    text = shown(running)
    assert "pose: 1 of 3 trials done, 1 running (process " in text
    assert "time: 30 min, 30 min left of 1 h; of workers at work: 28 min" in text
    assert "about 60 s left for the trials" in text
    assert "2 workers, idle for 3.0% of their time" in text
    first, second = (line.split() for line in text.splitlines()[-2:])
    assert first[:5] == ["0", "gpu-1", "training", "1", "50/120"]
    assert second[:3] == ["1", "-", "idle"]
    assert (first[-1], second[-1]) == ("1.0%", "5.0%")


def test_a_study_that_does_not_run_says_so_and_has_no_table(folder: StudyFolder) -> None:
    assert "1 of 3 trials done, not running" in shown(folder)
    assert "worker " not in shown(folder)


def test_it_looks_again_until_ctrl_c(
    running: StudyFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = []

    def stop(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", stop)
    watch(running)
    assert capsys.readouterr().out.count("1 of 3 trials done") == 3
    assert looks == [30.0] * 3


def test_programs_read_it_in_the_status(running: StudyFolder) -> None:
    done = CliRunner().invoke(app, ["status", str(running.root), "--json"])
    document = json.loads(done.stdout)
    assert document["state"] == "running"
    assert document["running"]["workers"] == WORKERS
    assert (document["running"]["trials"], document["running"]["idle"]) == (1, 0.03)


def test_without_a_run_there_is_nothing(folder: StudyFolder) -> None:
    done = CliRunner().invoke(app, ["status", str(folder.root), "--json"])
    assert json.loads(done.stdout)["running"] is None


@pytest.mark.parametrize("arguments", [["--watch"], ["pose", "--watch", "--json"]])
def test_what_cannot_be_watched_is_refused(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["status", *arguments])
    assert done.exit_code == 3
