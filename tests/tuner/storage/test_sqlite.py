from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tuner.errors import TunerError
from tuner.storage import Store, sqlite as module
from tuner.storage.sqlite import is_local, write_ahead


def journal(database: Path) -> str:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("pragma journal_mode").fetchone()[0])


def put(database: Path, number: int) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table if not exists numbers (number)")
        connection.execute("insert into numbers values (?)", [number])


def numbers(database: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return [number for (number,) in connection.execute("select number from numbers")]


def mounts(monkeypatch: pytest.MonkeyPatch, *known: tuple[str, str, str]) -> None:
    found = [SimpleNamespace(mountpoint=at, fstype=kind, opts=how) for at, kind, how in known]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: found)


def test_a_database_has_a_log_within_and_is_one_file_after(tmp_path: Path) -> None:
    first, second = tmp_path / "a.db", tmp_path / "b.db"
    put(first, 1)
    with write_ahead(first, second):
        assert (journal(first), journal(second)) == ("wal", "wal")
        put(first, 2)
        put(second, 3)
    assert (journal(first), journal(second)) == ("delete", "delete")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.db", "b.db"]
    assert (numbers(first), numbers(second)) == ([1, 2], [3])


def test_what_a_killed_process_left_in_the_log_is_there_again(tmp_path: Path) -> None:
    database, taken = tmp_path / "a.db", tmp_path / "copy" / "a.db"
    taken.parent.mkdir()
    with write_ahead(database):
        put(database, 1)
        keeper = sqlite3.connect(database)  # so that closing does not empty the log
        keeper.execute("select * from numbers").fetchall()
        put(database, 7)
        for name in ("a.db", "a.db-wal"):
            (taken.parent / name).write_bytes((tmp_path / name).read_bytes())
        keeper.close()
    with write_ahead(taken):
        assert numbers(taken) == [1, 7]
    assert [one.name for one in taken.parent.iterdir()] == ["a.db"]


def test_a_reader_at_the_end_costs_nothing(tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    with contextlib.ExitStack() as readers:
        with write_ahead(database):
            put(database, 1)
            reader = readers.enter_context(contextlib.closing(sqlite3.connect(database)))
            reader.execute("begin")
            assert reader.execute("select number from numbers").fetchall() == [(1,)]
        assert journal(database) == "wal"
    with write_ahead(database):
        put(database, 2)
    assert journal(database) == "delete"
    assert numbers(database) == [1, 2]


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p", "unheard-of"])
def test_other_file_systems_keep_their_journal(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts(monkeypatch, ("/", "ext4", "rw"), (str(tmp_path), kind, "rw"))
    database = tmp_path / "a.db"
    with write_ahead(database):
        put(database, 1)
        assert journal(database) == "delete"


def test_the_nearest_mount_counts_and_of_one_place_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "inner"
    mounts(monkeypatch, (str(tmp_path), "ext4", "rw"), (str(inner), "nfs", "rw"))
    assert is_local(tmp_path / "a.db")
    assert not is_local(inner / "a.db")
    mounts(monkeypatch, (str(tmp_path), "ext4", "rw"), (str(tmp_path), "nfs", "rw"))
    assert not is_local(tmp_path / "a.db")
    mounts(monkeypatch, (str(tmp_path), "NTFS", "rw,remote"))
    assert not is_local(tmp_path / "a.db")
    mounts(monkeypatch)
    assert not is_local(tmp_path / "a.db")


def test_what_is_no_database_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "a.db"
    database.write_text("no database, but some text that is longer than a page's head")
    with pytest.raises(TunerError, match="cannot be used"), write_ahead(database):
        pass
    put(tmp_path / "b.db", 1)
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    with contextlib.closing(sqlite3.connect(tmp_path / "b.db")) as other:
        other.execute("begin exclusive")
        with pytest.raises(TunerError, match="locked by another"), write_ahead(tmp_path / "b.db"):
            pass


def test_only_what_has_to_last_waits_for_the_disk(tmp_path: Path) -> None:
    def waits(store: Store) -> bool:
        return store._db.execute("pragma synchronous").fetchone() == (2,)

    database = tmp_path / "results.db"
    with Store(database) as store, store.together(lasting=False):
        assert waits(store)  # with the default journal the whole database could be lost
    with write_ahead(database), Store(database) as store:
        store.begin_trial(0, {})
        assert not waits(store)
        store.end_trial(0, "complete")
        assert waits(store)
        with store.together(lasting=False), store.together():
            assert not waits(store)  # the outer context counts
