"""A whole study on a PostgreSQL server: killed twice, shown meanwhile; its password is nowhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import pytest
from optuna_dashboard import wsgi

from tests.tuner.postgres_server import PASSWORD, postgres_server
from tests.tuner.report.test_dashboard import get
from tests.tuner.tiny_space import write_space
from tuner.results import read_results
from tuner.storage import StudyFolder
from tuner.storage.address import Address, read_address
from tuner.study.optuna_db import on_server, storage

pytestmark = pytest.mark.slow


def shown_states(folder: StudyFolder, address: Address) -> Counter[str]:
    """How often the dashboard shows each state of a trial."""
    with storage(folder, address) as memory:
        study = on_server(memory, "faults", address)
        shown = json.loads(get(wsgi(memory), f"/api/studies/{study._study_id}")[2])
    return Counter(trial["state"] for trial in shown["trials"])


@pytest.mark.timeout(900)
def test_a_killed_study_goes_on_and_its_password_is_nowhere(tmp_path: Path) -> None:
    space, studies = write_space(tmp_path), tmp_path / "studies"
    folder = StudyFolder(studies / "faults")
    command = [sys.executable, "-m", "tuner", "run", str(space), "--trials", "3"]
    command += ["--studies", str(studies), "--workers", "1", "--plain"]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
    environment["HOME"] = str(tmp_path)  # it has no .pgpass
    said, alive = "", Counter[str]()

    def run(storage: str | None, kill_at: str | None = None) -> int:
        nonlocal said, alive
        given = {} if storage is None else {"TUNER_STORAGE": storage}
        with subprocess.Popen(
            command,
            env=environment | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                said += line
                if kill_at is not None and line.startswith(kill_at):
                    alive = shown_states(folder, read_address(server.address))
                    process.kill()
        return process.returncode

    with postgres_server() as server:
        assert run(server.address, kill_at="trial 1") == -signal.SIGKILL
        assert alive == {"Complete": 1, "Running": 1}
        assert run(None) == 3
        assert f"{server.place} cannot be used" in said
        assert run(server.address.replace("team:", "team:wrong")) == 3
        assert run(server.address, kill_at="trial 2") == -signal.SIGKILL
        assert alive == {"Complete": 1, "Fail": 1, "Running": 1}
        assert run(server.address) == 0
        shown = shown_states(folder, read_address(server.address))
    states = [trial.state for trial in read_results(folder).trials]
    assert Counter(states) == {"complete": 3, "interrupted": 2}
    assert shown == {"Complete": 3, "Fail": 2}
    assert not folder.optuna_db.exists()
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "s3cret"):
        assert secret not in said
        files = [path for path in studies.rglob("*") if path.is_file()]
        assert [path for path in files if secret.encode() in path.read_bytes()] == []
