"""SQLite as the databases of a study use it: write-ahead log, reading without a trace, errors.

While a study runs, its databases keep a write-ahead log: a commit then takes a tenth of the time,
since SQLite's own journal waits several times for the disk at each, and Optuna commits some thirty
times a trial. The log needs memory that all readers share, which network folders do not have, so
there the journal stays, as it does on kinds of disk that are not known here.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tuner.errors import DiskError, TunerError

BUSY_SECONDS = 30.0
"""Seconds to wait for a database that another program has locked."""

_WRITE_AHEAD_FORMAT = b"\x02\x02"
"""Read and write version in the header of a database with a write-ahead log
(https://www.sqlite.org/fileformat2.html, offset 18)."""


def database_error(error: sqlite3.Error, path: Path) -> TunerError:
    """What an error of the database at `path` means to the user, in one line."""
    name = str(getattr(error, "sqlite_errorname", ""))
    if path.parent.is_dir():
        free = shutil.disk_usage(path.parent).free
        if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and free < 1 << 20):
            return DiskError(
                f"no room to write {path} ({free // 1024} KiB free); make room and run the same "
                "command again, it goes on where it was"
            )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return TunerError(
            f"{path} was locked by another program for {BUSY_SECONDS:.0f} s; close that program "
            "and run the same command again"
        )
    return TunerError(f"{path} cannot be used: {error}")


@contextlib.contextmanager
def opened_to_read(database: Path, in_use: bool) -> Iterator[sqlite3.Connection]:
    """Open `database` so that no byte of its folder changes, and close it at the end.

    `in_use`: a living process has it open. A database that a killed process left with a log or
    an unfinished write has to be repaired before it can be read: that is done to a copy.
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
"""Names of file systems of one machine, as psutil gives them in lower case."""


@contextlib.contextmanager
def write_ahead(*databases: Path) -> Iterator[None]:
    """Have `databases` on a local disk keep a write-ahead log until the end of the context.

    Then each is one file again that can be copied and read anywhere; after a kill the log lies
    beside it (`-wal`) until the study is taken up. Raises TunerError for a database that cannot
    be used.
    """
    chosen = [one for one in databases if is_local(one)]
    for database in chosen:
        try:
            _set_journal(database, "WAL")
        except sqlite3.Error as error:
            raise database_error(error, database) from error
    try:
        yield
    finally:
        for database in chosen:
            # Where another program reads it just now, the log stays, and nothing is lost by it.
            with contextlib.suppress(sqlite3.Error):
                _set_journal(database, "DELETE")


def is_local(path: Path) -> bool:
    """Whether a file lies, or would lie, on a disk that is known to be of this machine alone."""
    place = path.resolve()
    mounted = [
        one for one in psutil.disk_partitions(all=True) if place.is_relative_to(one.mountpoint)
    ]
    if not mounted:
        return False
    # Of several mounted on one place, the last one is seen.
    nearest = max(enumerate(mounted), key=lambda one: (len(one[1].mountpoint), one[0]))[1]
    return nearest.fstype.lower() in LOCAL and "remote" not in nearest.opts.split(",")


def _set_journal(database: Path, mode: str) -> None:
    timeout = BUSY_SECONDS if mode == "WAL" else 0.0
    with contextlib.closing(sqlite3.connect(database, timeout=timeout)) as connection:
        connection.execute(f"pragma journal_mode = {mode}")
