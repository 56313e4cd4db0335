"""An extract of results.db: what a worker on another machine reads of the study's database."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tuner.storage.columns import BASE_NUMBER
from tuner.storage.schema import EXTRA, FRESH, OF_A_RUNG, TABLES
from tuner.storage.sqlite import BUSY_SECONDS, database_error
from tuner.storage.store import Store


def extract(database: Path, trials: Sequence[int]) -> bytes:
    """Return a small results.db as bytes: the study, the base's samples, the rows of `trials`.

    The bytes are the same while those rows are. Raises TunerError for an unusable database.
    """
    marks = ", ".join("?" for _ in trials)
    chosen = {"studies": ("true", []), "trials": (f"number in ({marks})", [*trials])}
    chosen |= {
        prefix + name: ("trial = ?", [BASE_NUMBER])
        for prefix in ("", FRESH, EXTRA)
        for name in OF_A_RUNG
    }
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / database.name
        with Store(into):  # makes the tables
            pass
        try:
            with contextlib.closing(sqlite3.connect(into, timeout=BUSY_SECONDS)) as copy:
                copy.execute("attach ? as whole", [f"{database.resolve()}"])
                known = {name for (name,) in copy.execute("select name from whole.sqlite_master")}
                for table, (where, values) in chosen.items():
                    if table in known:
                        _copy(copy, table, where, values)
                copy.commit()
        except sqlite3.Error as error:
            raise database_error(error, database) from error
        return into.read_bytes()


def _copy(copy: sqlite3.Connection, table: str, where: str, values: list[int]) -> None:
    there = {row[1] for row in copy.execute(f"pragma whole.table_info({table})")}
    columns = ", ".join(f'"{name}"' for name in TABLES[table][0] if name in there)
    copy.execute(
        f"insert into {table} ({columns}) select {columns} from whole.{table} "
        f"where {where} order by rowid",
        values,
    )


def apply_extract(data: bytes, database: Path) -> None:
    """Make `database` the extract `data`; a program that has it open reads the new rows."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / database.name
        part.write_bytes(data)
        with (
            contextlib.closing(sqlite3.connect(part)) as source,
            contextlib.closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as target,
        ):
            source.backup(target)
