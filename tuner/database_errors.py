"""What an error of SQLite means to the user: locked, full, or no database at all."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from tuner.errors import DiskError, TunerError

BUSY_SECONDS = 30.0
"""How long a database that another program has locked is waited for."""


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
