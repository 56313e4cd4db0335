from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import numpy as np
import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna_dashboard import get_note, save_note, wsgi
from PIL import Image

from metrics.contract import Objective, Prompt, Sample, Score, ScoredSample
from tuner.errors import ConfigError, DivergedError, TunerError
from tuner.events import Event
from tuner.report import serve_dashboard
from tuner.report.dashboard import add_notes, allow_hosts
from tuner.space import TrainConfig, load_study
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow
from tuner.study.optuna_db import existing, opened, storage
from tuner.study.record import record_study
from tuner.study.study import Session, search
from tuner.trial import Rung

SPACE = """
study: pose
base: mannequin
data: mannequin
budget: {trials: 3, rungs: [10, 20]}
objectives: [pose, gender]
constraints: {undressed_rate: 0.15}
train: {rank: {choices: [4, 8, 16]}}
"""
NOISE = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
RATES = {"undressed_rate": Objective("undressed_rate", 0.0, 0.0, 0.1, 9, 10)}


def numbers(pose: float) -> dict[str, Objective]:
    return {name: Objective(name, pose, 0.1, 0.9, 9, 10) for name in ("pose", "gender")}


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(NOISE).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A study of three trials, the last of which diverged, with grids on the disk."""
    space = tmp_path / "pose.yaml"
    space.write_text(SPACE)
    config = load_study(space)
    folder = StudyFolder(tmp_path / "pose")
    folder.create()

    def run(number: int, train: TrainConfig) -> Iterator[Event | Rung]:
        for step in (10, 20):
            files = folder.trial(number).rung(step)
            draw(files.grid)
            sample = Sample(Prompt("1girl"), 0, NOISE, files.sample(0))
            scored = [ScoredSample(sample, {"limbs": Score("limbs", 0.5)})]
            yield Rung(step, files.lora, scored, numbers(0.1 * number + step / 100), RATES)
            if number == 2:
                raise DivergedError("loss is nan")

    with opened(config, folder, {"data": "a"}) as memory, Store(folder.results_db) as store:
        record_study(config, folder, store, {"data": "a"})
        draw(folder.base / "grid.png")
        base = RungRow(None, 0, numbers(0.05), RATES, None, folder.base / "grid.png")
        store.put_rung(base, [])
        list(search(Session(config, folder, memory, store), run))
    return folder


def get(app: Any, path: str, host: str = "127.0.0.1:8080") -> tuple[str, dict[str, str], bytes]:
    environ: dict[str, Any] = {"PATH_INFO": path, "HTTP_HOST": host}
    setup_testing_defaults(environ)
    answer: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], error: object = None) -> None:
        answer.extend([status, dict(headers)])

    body = b"".join(app(environ, start))
    return answer[0], answer[1], body


def test_trials_have_their_grids_and_notes(folder: StudyFolder) -> None:
    with storage(folder) as memory:
        study = existing(memory, folder)
        add_notes(study, folder)
        app = wsgi(memory, artifact_store=FileSystemArtifactStore(folder.artifacts))
        _, _, body = get(app, f"/api/studies/{study._study_id}")
        shown = json.loads(body)
        assert shown["objective_names"] == ["pose", "gender"]
        names = [[one["filename"] for one in trial["artifacts"]] for trial in shown["trials"]]
        assert [sorted(one) for one in names] == [
            ["step_000010.png", "step_000020.png"],
            ["step_000010.png", "step_000020.png"],
            ["step_000010.png"],
        ]
        note = shown["trials"][1]["note"]["body"]
        assert "# Trial 1: complete" in note
        # Its one judge, limbs, has no selfcheck here; no judge of gender gave a value.
        assert "| pose \\* | 0.30 [0.10, 0.90] | 9 of 10 | 0.05 [0.10, 0.90] |" in note
        assert "| gender | 0.30" in note
        assert note.count("\\* uncalibrated: no selfcheck") == 1
        address = note.partition("![grid](")[2].partition(")")[0]
        status, headers, picture = get(app, address)
        assert (status, headers["Content-Type"]) == ("200 OK", "image/png")
        assert picture == folder.trial(1).rung(20).grid.read_bytes()
        assert "diverged: loss is nan" in shown["trials"][2]["note"]["body"]
        assert "# pose" in shown["note"]["body"]
        # The pruned trial breaks the constraint `sound`, for the dashboard too.
        assert [one["constraints"] for one in shown["trials"]][2] == [1.0]


def test_preparing_again_changes_nothing_but_what_is_missing(folder: StudyFolder) -> None:
    with storage(folder) as memory:
        study = existing(memory, folder)
        add_notes(study, folder)
        trial = optuna.Trial(study, study.trials[0]._trial_id)
        save_note(trial, "my own words")
        before = sorted(folder.artifacts.iterdir())
        lost = folder.artifacts / get_all_artifact_meta(trial)[0].artifact_id
        lost.unlink()
        add_notes(study, folder)
        assert get_note(trial) == "my own words"
        assert sorted(folder.artifacts.iterdir()) == before
        assert lost.read_bytes()[:4] == b"\x89PNG"


def test_only_this_machines_names_are_answered(folder: StudyFolder) -> None:
    with storage(folder) as memory:
        app = allow_hosts(wsgi(memory), ["127.0.0.1", "localhost", "::1"])
        for host in ("127.0.0.1:8080", "localhost", "[::1]:8080", "localhost:80"):
            assert get(app, "/api/studies", host)[0] == "200 OK"
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""):
            assert get(app, "/api/studies", host)[0].startswith("403")


def test_an_open_host_needs_a_second_word(folder: StudyFolder) -> None:
    with pytest.raises(ConfigError, match="no password"):
        serve_dashboard(folder, host="0.0.0.0")


def test_a_port_that_is_taken_is_reported(folder: StudyFolder) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(TunerError, match=r"cannot be used.*--port"):
            serve_dashboard(folder, port=other.getsockname()[1])


@pytest.mark.slow
def test_the_command_serves_on_this_machine_only(folder: StudyFolder) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tuner", "dashboard", str(folder.root), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line.startswith(f"http://127.0.0.1:{port}/")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=20) as got:
                assert json.load(got)["study_summaries"][0]["study_name"] == "pose"
            foreign = urllib.request.Request(
                f"http://127.0.0.1:{port}/api/studies", headers={"Host": "evil.example"}
            )
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(foreign, timeout=20)
            # 127.0.0.2 is this machine as well: a server on all addresses would answer there.
            with pytest.raises(urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.2:{port}/", timeout=20)
        finally:
            server.terminate()


def test_a_study_without_optunas_database_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no optuna\.db"):
        serve_dashboard(StudyFolder(tmp_path))
    assert not list(tmp_path.iterdir())
