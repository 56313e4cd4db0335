"""SQLite for a study's databases: write-ahead log, reading without changing a file, errors.

While a study runs, its databases use a write-ahead log: a commit then takes a tenth of the time,
because SQLite's default journal waits for the disk several times a commit, and Optuna commits about
thirty times a trial. The log needs memory shared by all readers, which network folders do not have,
so the default journal is kept there and on unknown file systems.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tuner import __version__
from tuner.errors import ConfigError, DiskError, TunerError
from tuner.storage.schema import FORMAT

BUSY_SECONDS = 30.0
"""Seconds to wait for a database that another program has locked."""

_WRITE_AHEAD_FORMAT = b"\x02\x02"
"""Read and write version in the header of a database with a write-ahead log
(https://www.sqlite.org/fileformat2.html, offset 18)."""


def database_error(error: sqlite3.Error, path: Path) -> TunerError:
    """Return the error for the user, with one line, for an SQLite error of the database `path`."""
    name = str(getattr(error, "sqlite_errorname", ""))
    if path.parent.is_dir():
        free = shutil.disk_usage(path.parent).free
        if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and free < 1 << 20):
            return DiskError(
                f"no space left to write {path} ({free // 1024} KiB free); free some and run the "
                "same command again, it continues where it stopped"
            )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return TunerError(
            f"{path} was locked by another program for {BUSY_SECONDS:.0f} s; close that program "
            "and run the same command again (on a network folder without file locks: copy the "
            "study to a local disk)"
        )
    if name.startswith("SQLITE_PROTOCOL") or "LOCK" in name:  # such as SQLITE_IOERR_RDLOCK
        return no_locks(path)
    if path.is_file() and not os.access(path, os.R_OK):
        return TunerError(f"{path} cannot be read (Permission denied); change its permissions")
    return TunerError(f"{path} cannot be used: {error}")


@contextlib.contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Raise the error for the user in place of one of SQLite."""
    try:
        yield
    except sqlite3.Error as error:
        raise database_error(error, path) from error


def no_locks(path: Path) -> TunerError:
    """Return the error for the user for a file system on which `path` cannot be locked."""
    return TunerError(
        f"{path} is on a file system without file locks, which a study needs; keep the study on a "
        "local disk (--studies FOLDER), or mount this one with locks"
    )


def refuse_later(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ConfigError for a results.db that a later version of tuner wrote in another format."""
    (number,) = connection.execute("pragma user_version").fetchone()
    if number <= FORMAT:
        return
    writer = "a later version of tuner"
    with contextlib.suppress(sqlite3.Error, ValueError, TypeError, KeyError):
        (versions,) = connection.execute("select versions from studies").fetchone()
        writer = f"tuner {json.loads(versions)['tuner']}"
    raise ConfigError(
        f"{path} was written by {writer} in format {number}; this is tuner {__version__}, which "
        f"knows format {FORMAT}: use that version, or a later one"
    )


@contextlib.contextmanager
def opened_to_read(database: Path, in_use: bool) -> Iterator[sqlite3.Connection]:
    """Open `database` without changing any file in its folder, and close it at the end.

    `in_use` is True if a living process has it open. A database that a killed process left with a
    log or an unfinished write must be repaired before it can be read: a copy is repaired and read.
    """
    with contextlib.ExitStack() as stack:
        if not in_use and _needs_repair(database):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            database = _repaired_copy(database, Path(folder))
        address = f"{database.resolve().as_uri()}?mode=ro"
        connection = sqlite3.connect(address, timeout=BUSY_SECONDS, uri=True)
        yield stack.enter_context(contextlib.closing(connection))


def _needs_repair(database: Path) -> bool:
    if database.with_name(f"{database.name}-journal").is_file():
        return True
    with contextlib.suppress(OSError), database.open("rb") as file:
        return file.read(20)[18:20] == _WRITE_AHEAD_FORMAT
    return False


def _repaired_copy(database: Path, folder: Path) -> Path:
    copy = folder / database.name
    for suffix in ("", "-wal", "-journal"):
        part = database.with_name(database.name + suffix)
        if part.is_file():
            shutil.copyfile(part, folder / part.name)
    _set_journal(copy, "DELETE")
    return copy


LOCAL = frozenset(
    (
        *("apfs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfs", "ntfs", "overlay"),
        *("refs", "tmpfs", "vfat", "xfs", "zfs"),
    )
)
"""Names of local file systems, in psutil's spelling in lower case."""


@contextlib.contextmanager
def write_ahead(*databases: Path) -> Iterator[None]:
    """Use a write-ahead log for `databases` on a local disk until the end of the context.

    After that each is a single file again that can be copied and read anywhere; after a kill the
    log stays beside it (`-wal`) until the study is resumed. Raises TunerError for a database that
    cannot be used.
    """
    local = [database for database in databases if is_local(database)]
    for database in local:
        with database_errors(database):
            _set_journal(database, "WAL")
    try:
        yield
    finally:
        for database in local:
            # If another program is reading it now, the log stays; no data are lost.
            with contextlib.suppress(sqlite3.Error):
                _set_journal(database, "DELETE")


def remove_log(database: Path) -> None:
    """Remove the log of a lost database, which SQLite would apply to a new one of that name."""
    for suffix in ("-wal", "-shm", "-journal"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def is_local(path: Path) -> bool:
    """Return True if `path` is, or would be, on a disk that is known to be local."""
    place = path.resolve()
    mounts = [
        mount
        for mount in psutil.disk_partitions(all=True)
        if place.is_relative_to(mount.mountpoint)
    ]
    if not mounts:
        return False
    # If a folder has several mounts, the last is in effect; `max` returns the first of equals.
    nearest = max(reversed(mounts), key=lambda mount: len(mount.mountpoint))
    return nearest.fstype.lower() in LOCAL and "remote" not in nearest.opts.split(",")


def _set_journal(database: Path, mode: str) -> None:
    timeout = BUSY_SECONDS if mode == "WAL" else 0.0
    with contextlib.closing(sqlite3.connect(database, timeout=timeout)) as connection:
        connection.execute(f"pragma journal_mode = {mode}")
