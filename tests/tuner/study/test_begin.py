"""A study's folder says which study it is: nothing that was measured is trained over or mixed."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from tests.tuner.plain_trials import DATA, SPACE, ends, good, new_folder, study_config
from tests.tuner.test_read_only import contents
from tuner.errors import ConfigError, TunerError
from tuner.results import read_results
from tuner.space import StudyConfig, load_study
from tuner.storage import Store, StudyFolder
from tuner.study.begin import open_session
from tuner.study.optuna_db import existing, storage
from tuner.study.study import search, take_up


def run(
    config: StudyConfig, folder: StudyFolder, trials: int = 2, data: Mapping[str, str] = DATA
) -> list[int]:
    """Run the study up to `trials` trials, and return the numbers of the trials that ended."""
    budget = config.budget.model_copy(update={"trials": trials})
    config = config.model_copy(update={"budget": budget})
    with open_session(config, folder, data) as session:
        list(take_up(session))
        return [number for number, _, _ in ends(list(search(session, good(folder))))]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two trials, in a folder of its own with its space."""
    parent = tmp_path_factory.mktemp("measured")
    assert run(study_config(parent), StudyFolder(parent / "pose")) == [0, 1]
    return parent


@pytest.fixture
def parent(measured: Path, tmp_path: Path) -> Path:
    return shutil.copytree(measured, tmp_path / "copy")


def test_a_study_of_another_name_goes_on(parent: Path) -> None:
    begun = read_results(StudyFolder(parent / "pose")).study.begun
    (parent / "pose").rename(parent / "renamed")
    config = study_config(parent).model_copy(update={"study": "renamed"})
    folder = StudyFolder(parent / "renamed")
    assert run(config, folder, trials=3) == [2]
    results = read_results(folder)
    assert results.study.name == "renamed"
    assert results.study.begun == begun
    assert [trial.number for trial in results.trials] == [0, 1, 2]
    with sqlite3.connect(folder.results_db) as raw:
        assert raw.execute("select count(*) from studies").fetchone() == (1,)


def lose_optuna(folder: StudyFolder) -> None:
    folder.optuna_db.unlink()


def empty_optuna(folder: StudyFolder) -> None:
    folder.optuna_db.write_bytes(b"")


def lose_results(folder: StudyFolder) -> None:
    folder.results_db.unlink()


def empty_results(folder: StudyFolder) -> None:
    folder.results_db.write_bytes(b"")


def lose_both(folder: StudyFolder) -> None:
    lose_optuna(folder)
    lose_results(folder)


def lose_tables(folder: StudyFolder) -> None:
    with sqlite3.connect(folder.optuna_db) as raw:
        raw.execute("delete from studies")


def other_optuna(folder: StudyFolder) -> None:
    """optuna.db of a study of the same space, with other parameters: their trials were swapped."""
    with sqlite3.connect(folder.optuna_db) as raw:
        raw.execute("update trials set number = 1 - number")


def older_optuna(folder: StudyFolder) -> None:
    with sqlite3.connect(folder.optuna_db) as raw:
        raw.execute("delete from trials where number = 1")


def older_results(folder: StudyFolder) -> None:
    with sqlite3.connect(folder.results_db) as raw:
        raw.execute("delete from trials where number = 1")


def older_both(folder: StudyFolder) -> None:
    older_optuna(folder)
    older_results(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lose_optuna, r"optuna.db is lost or empty: it does not have trials 0, 1 of results.db"),
        (empty_optuna, r"optuna.db is lost or empty: it does not have trials 0, 1 of results.db"),
        (lose_tables, "optuna.db holds no study that tuner began"),
        (other_optuna, r"optuna.db is of another study or an older copy: .* trials 0, 1"),
        (older_optuna, r"optuna.db is of another study or an older copy: .* trial 1 of"),
        (lose_results, r"results.db is lost or empty: it does not have trials 0, 1 of optuna.db"),
        (empty_results, r"results.db is lost or empty: it does not have trials 0, 1 of optuna.db"),
        (older_results, r"results.db is of another study or an older copy: .* trial 1 of"),
        (lose_both, r"trials has trials 0, 1, which the databases beside it do not have"),
        (older_both, r"trials has trial 1, which the databases beside it do not have"),
    ],
)
def test_a_folder_that_lost_a_part_is_refused_and_stays_as_it_is(
    parent: Path, harm: Callable[[StudyFolder], None], message: str
) -> None:
    folder = StudyFolder(parent / "pose")
    harm(folder)
    trials = contents(folder.trials)
    for _ in range(2):  # the refusal itself makes nothing that the next run takes for the study
        with pytest.raises(ConfigError, match=message) as error:
            run(study_config(parent), folder, trials=3)
        assert "\n" not in str(error.value)
        assert "move" in str(error.value)
    assert contents(folder.trials) == trials


def test_a_part_that_is_put_back_goes_on(parent: Path) -> None:
    folder = StudyFolder(parent / "pose")
    for path in (folder.optuna_db, folder.results_db):
        path.rename(parent / path.name)
        with pytest.raises(ConfigError, match="lost or empty"):
            run(study_config(parent), folder, trials=3)
        (parent / path.name).replace(path)
    assert run(study_config(parent), folder, trials=3) == [2]


def test_two_studies_that_changed_places_are_refused(parent: Path, tmp_path: Path) -> None:
    other_space = tmp_path / "other.yaml"
    other_space.write_text(SPACE.replace("[4, 8, 16]", "[4, 8, 32]").replace("pose\n", "other\n"))
    other = load_study(other_space)
    run(other, StudyFolder(parent / "other"))
    (parent / "pose").rename(parent / "third")
    (parent / "other").rename(parent / "pose")
    with pytest.raises(ConfigError, match=r"another search space \(train.rank differ from study"):
        run(study_config(parent), StudyFolder(parent / "pose"), trials=3)
    shutil.copyfile(parent / "third" / "optuna.db", parent / "pose" / "optuna.db")
    with pytest.raises(ConfigError, match=r"optuna.db was begun with another search space"):
        run(other, StudyFolder(parent / "pose"), trials=3)


def test_other_pictures_are_refused(parent: Path) -> None:
    folder = StudyFolder(parent / "pose")
    with pytest.raises(ConfigError, match="was begun; put them back, name their folder"):
        run(study_config(parent), folder, data={"data": "xyz"})


def later_version(folder: StudyFolder) -> None:
    with sqlite3.connect(folder.results_db) as raw:
        versions = json.loads(raw.execute("select versions from studies").fetchone()[0])
        raw.execute("update studies set versions = ?", [json.dumps(versions | {"tuner": "99.1"})])


def later_format(folder: StudyFolder) -> None:
    later_version(folder)
    with sqlite3.connect(folder.results_db) as raw:
        raw.execute("pragma user_version = 7")


def later_schema(folder: StudyFolder) -> None:
    with sqlite3.connect(folder.optuna_db) as raw:
        raw.execute("update alembic_version set version_num = 'v9.9.9'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (later_version, "results.db was written by tuner 99.1, and this is tuner 0"),
        (later_format, "written by tuner 99.1 in format 7; this is tuner 0.* knows format 1"),
        (later_schema, "optuna.db was written by Optuna .* schema v9.9.9, and this is Optuna 5"),
    ],
)
def test_databases_of_other_versions_are_refused_with_both_versions(
    parent: Path, change: Callable[[StudyFolder], None], message: str
) -> None:
    folder = StudyFolder(parent / "pose")
    change(folder)
    with pytest.raises(ConfigError, match=message) as error:
        run(study_config(parent), folder, trials=3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("drawing", [None, "1", "99"])
def test_a_study_whose_pictures_were_drawn_in_another_way_is_not_mixed(
    parent: Path, drawing: str | None
) -> None:
    folder = StudyFolder(parent / "pose")
    with sqlite3.connect(folder.results_db) as raw:
        ((text,),) = raw.execute("select versions from studies").fetchall()
        versions = json.loads(text) | {"drawing": drawing}
        known = {name: version for name, version in versions.items() if version}
        raw.execute("update studies set versions = ?", [json.dumps(known)])
    before = folder.results_db.read_bytes()
    with pytest.raises(ConfigError, match=r"drawn with drawing version .* move .* away") as caught:
        run(study_config(parent), folder, trials=3)
    assert "\n" not in str(caught.value)
    assert folder.results_db.read_bytes() == before


def test_columns_of_a_later_version_are_passed_over(parent: Path) -> None:
    folder = StudyFolder(parent / "pose")
    before = read_results(folder)
    with sqlite3.connect(folder.results_db) as raw:
        for table in ("studies", "trials", "rungs", "measures", "samples"):
            raw.execute(f"alter table {table} add column later text")
    assert read_results(folder) == before


def test_a_study_beside_it_in_the_same_database_is_passed_over(parent: Path) -> None:
    folder = StudyFolder(parent / "pose")
    with storage(folder) as memory:
        memory.create_new_study(existing(memory, folder).directions, "of the dashboard")
    assert run(study_config(parent), folder, trials=3) == [2]


def test_what_an_earlier_kill_left_is_begun(tmp_path: Path) -> None:
    config, folder = study_config(tmp_path), new_folder(tmp_path)
    with Store(folder.results_db):  # tables without the study's row
        pass
    folder.optuna_db.write_bytes(b"")
    left = [folder.root / name for name in (".optuna.77.tmp.db-journal", ".study.77.tmp.yaml")]
    for path in left:
        path.write_bytes(b"half")
    assert run(config, folder, trials=1) == [0]
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(TunerError, match=r"without file locks.*--studies") as error:
        run(study_config(tmp_path), StudyFolder(tmp_path / "pose"))
    assert "\n" not in str(error.value)


def begin(parent: Path, ready: Connection) -> None:
    config, folder = study_config(parent), StudyFolder(parent / "pose")
    ready.send("ready")
    with open_session(config, folder, DATA):
        ready.send("begun")
        time.sleep(60)


@pytest.mark.slow
def test_a_kill_at_any_moment_of_the_beginning_is_no_harm(tmp_path: Path) -> None:
    forked = multiprocessing.get_context("fork")  # a new interpreter would import for seconds
    longest = 0.0
    for number, share in enumerate([1.0, *np.linspace(0, 1, 24)]):
        parent = tmp_path / str(number)
        parent.mkdir()
        here, there = forked.Pipe()
        process = forked.Process(target=begin, args=(parent, there))
        process.start()
        assert here.recv() == "ready"
        began = time.monotonic()
        if number == 0:
            assert here.recv() == "begun"
            longest = time.monotonic() - began
        else:
            time.sleep(share * longest)
        process.kill()
        process.join()
        folder = StudyFolder(parent / "pose")
        if folder.exists():
            read_results(folder)
        assert run(study_config(parent), folder, trials=1) == [0]
        assert [path.name for path in folder.root.glob(".*")] == []
