"""A write-ahead log for the databases of a study while it runs: a commit then takes a tenth.

SQLite's own journal waits several times for the disk at each commit, and Optuna commits some thirty
times a trial. The log needs memory that all readers share, which network folders do not have, so
there the journal stays, as it does on kinds of disk that are not known here.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tuner.database_errors import BUSY_SECONDS, database_error

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
