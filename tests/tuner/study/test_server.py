"""A study that Optuna keeps on a PostgreSQL server: begun, continued, lost, out of reach."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from optuna_dashboard import wsgi

from tests.tuner.plain_trials import DATA, ends, good, study_config
from tests.tuner.postgres_server import PASSWORD, PostgresServer, postgres_server
from tests.tuner.report.test_dashboard import get
from tuner.errors import ConfigError, TunerError
from tuner.report.dashboard import add_notes
from tuner.results import read_results
from tuner.space import StudyConfig
from tuner.space.server import choose_storage
from tuner.storage import StudyFolder
from tuner.storage.address import read_address
from tuner.study import server as module
from tuner.study.begin import open_session
from tuner.study.optuna_db import on_server, storage
from tuner.study.server import server_storage
from tuner.study.study import search, take_up


@pytest.fixture(scope="module")
def shared_server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def server(shared_server: PostgresServer) -> PostgresServer:
    """The server, running, with a database of no study."""
    with server_storage(read_address(shared_server.address)) as memory:
        for study in memory.get_all_studies():
            memory.delete_study(study._study_id)
    return shared_server


def run(config: StudyConfig, folder: StudyFolder, given: str | None, trials: int = 2) -> list[int]:
    """Run the study up to `trials` trials, and return the numbers of the trials that ended."""
    budget = config.budget.model_copy(update={"trials": trials})
    config = config.model_copy(update={"budget": budget})
    config, address = choose_storage(config, folder, given)
    with open_session(config, folder, DATA, address) as session:
        list(take_up(session))
        return [number for number, _, _ in ends(list(search(session, good(folder))))]


def of_secret(folder: Path) -> list[Path]:
    """Files below `folder` with the password in any form."""
    forms = [PASSWORD.encode(), quote(PASSWORD, safe="").encode(), PASSWORD[:6].encode()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(form in path.read_bytes() for form in forms)]


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped(server: PostgresServer, tmp_path: Path) -> None:
    config, folder = study_config(tmp_path), StudyFolder(tmp_path / "pose")
    assert run(config, folder, server.address) == [0, 1]
    assert not folder.optuna_db.exists()
    assert f"storage: {server.place}\n" in folder.study_yaml.read_text()
    assert run(config, folder, server.address.replace("postgresql", "postgres"), trials=3) == [2]
    assert [trial.state for trial in read_results(folder).trials] == ["complete"] * 3
    address = read_address(server.address)
    with storage(folder, address) as memory:
        study = on_server(memory, "pose", address)
        add_notes(study, folder)
        shown = json.loads(get(wsgi(memory), f"/api/studies/{study._study_id}")[2])
    assert [trial["state"] for trial in shown["trials"]] == ["Complete"] * 3
    assert "# Trial 1: complete" in shown["trials"][1]["note"]["body"]
    assert of_secret(tmp_path) == []


@pytest.mark.slow
def test_a_study_of_another_folder_is_left_alone(server: PostgresServer, tmp_path: Path) -> None:
    config, folder = study_config(tmp_path), StudyFolder(tmp_path / "pose")
    run(config, folder, server.address)
    other = StudyFolder(tmp_path / "other" / "pose")
    with pytest.raises(ConfigError, match=r"has a study pose already \(begun in .*another name"):
        run(config, other, server.address)
    assert not other.results_db.exists()
    (tmp_path / "moved").mkdir()
    folder.root.rename(tmp_path / "moved" / "pose")
    assert run(config, StudyFolder(tmp_path / "moved" / "pose"), server.address, trials=3) == [2]


@pytest.mark.slow
def test_a_study_that_is_lost_on_the_server_is_not_trained_over(
    server: PostgresServer, tmp_path: Path
) -> None:
    config, folder = study_config(tmp_path), StudyFolder(tmp_path / "pose")
    run(config, folder, server.address)
    with server_storage(read_address(server.address)) as memory:
        memory.delete_study(memory.get_study_id_from_name("pose"))
    with pytest.raises(ConfigError, match="holds no study pose that tuner began"):
        run(config, folder, server.address, trials=3)


@pytest.mark.slow
def test_what_a_kill_left_of_the_beginning_is_begun_again(
    server: PostgresServer, tmp_path: Path
) -> None:
    config, folder = study_config(tmp_path), StudyFolder(tmp_path / "pose")
    folder.create()
    place = f"{socket.gethostname()}:{folder.root.resolve()}"
    with server_storage(read_address(server.address)) as memory:
        half = memory.create_new_study([], "pose")
        memory.set_study_user_attr(half, "begun_in", place)
    assert run(config, folder, server.address) == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"password": "wr0ng-word"}, ConfigError, "authentication failed.*TUNER_STORAGE"),
        ({"password": None}, ConfigError, "no password supplied.*TUNER_STORAGE"),
        ({"user": "nobody-known"}, ConfigError, "authentication failed"),
        ({"database": "nowhere"}, ConfigError, "does not exist; create it"),
        ({"host": "no-such-host.invalid"}, ConfigError, "resolve host.*correct the name"),
        ({"port": 1}, TunerError, "cannot be reached.*the same command"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(
    server: PostgresServer,
    tmp_path: Path,
    change: dict[str, object],
    kind: type[TunerError],
    message: str,
) -> None:
    address = replace(read_address(server.address), **change)
    with pytest.raises(kind, match=message) as caught, server_storage(address):
        pass
    assert type(caught.value) is kind
    text = str(caught.value)
    assert "\n" not in text
    assert "wr0ng-word" not in text
    assert PASSWORD not in text


def test_a_driver_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'tuner\[postgres\]'") as caught,
        server_storage(read_address("postgresql://team:s3cret@db/lora")),
    ):
        pass
    assert "s3cret" not in str(caught.value)


@pytest.mark.slow
def test_a_server_that_is_restarted_is_waited_for(
    server: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = study_config(tmp_path), StudyFolder(tmp_path / "pose")
    config, address = choose_storage(config, folder, server.address)
    with open_session(config, folder, DATA, address) as session:
        for event in search(session, good(folder)):
            if ends([event]) and event.trial == 0:
                server.stop()
                later = threading.Timer(1.0, server.start)
                later.start()
        later.join()
    assert [trial.state for trial in read_results(folder).trials] == ["complete"] * 3
    said = capsys.readouterr().err
    assert f"{server.place} does not answer" in said
    assert "answers again" in said
    assert PASSWORD not in said


@pytest.mark.slow
def test_a_server_that_stays_away_ends_the_run_and_loses_nothing(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 1.0)
    config, folder = study_config(tmp_path), StudyFolder(tmp_path / "pose")
    _, address = choose_storage(config, folder, server.address)

    def run_and_stop_the_server() -> None:
        with open_session(config, folder, DATA, address) as session:
            for event in search(session, good(folder)):
                if ends([event]) and event.trial == 0:
                    server.stop()

    try:
        with pytest.raises(TunerError, match=r"cannot be reached.*nothing is lost") as caught:
            run_and_stop_the_server()
        assert PASSWORD not in str(caught.value)
    finally:
        server.start()
    assert run(config, folder, server.address, trials=3) == [1, 2]
    assert [trial.state for trial in read_results(folder).trials] == ["complete"] * 3
    assert of_secret(tmp_path) == []
