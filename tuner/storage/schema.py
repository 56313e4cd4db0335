"""The tables of results.db: the type of each column, the primary keys, and how rows are written.

The tables `fresh_*` hold the measurements of a confirmation, with the columns of the tables that
they are named after: `repeat` 0 is the trial's own LoRA, 1 and above are trainings of its
parameters with other seeds. In the same way the tables `extra_*` hold the samples of the extra
suites: on another base, at another size, or with the trial's alias.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite_utils

FORMAT = 1
"""Number of this layout, kept in the header of a database (`user_version`). A database with a
higher number is refused: raise it with each change that this version would misread. New tables and
columns are no such change; databases of before the number have 0."""

_CELL: dict[str, Any] = {"trial": int, "step": int, "cell": int}
TABLES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "studies": (
        {"name": str, "base": str, "space_hash": str, "budget": int, "objectives": str,
         "constraints": str, "versions": str, "begun": str, "side": int, "models": str,
         "data": str, "hours": float, "gpu_hours": float},
        ("name",),
    ),
    "runs": (
        {"number": int, "begun": str, "seconds": float, "busy": float, "ended": str},
        ("number",),
    ),
    "trials": (
        {"number": int, "state": str, "reason": str, "parameters": str, "retry_of": int,
         "begun": str, "seconds": float, "device": str},
        ("number",),
    ),
    "rungs": (
        {"trial": int, "step": int, "objectives": str, "rates": str, "lora": str, "grid": str,
         "seeds": int},
        ("trial", "step"),
    ),
    "samples": (
        _CELL | {"prompt": str, "sex": str, "framing": str, "names_clothes": int, "seed": int,
                 "path": str},
        ("trial", "step", "cell"),
    ),
    "scores": (
        _CELL | {"judge": str, "value": float, "reason": str, "evidence": str, "version": str},
        ("trial", "step", "cell", "judge"),
    ),
    "measures": (
        {"trial": int, "step": int, "name": str, "value": float, "low": float, "high": float,
         "n": int, "total": int, "note": str},
        ("trial", "step", "name"),
    ),
    "features": (
        _CELL | {"framing": str, "thumbnail": bytes, "box": bytes, "joints": bytes,
                 "embedding": bytes, "faces": int, "face": bytes},
        ("trial", "step", "cell"),
    ),
    "confirmations": (
        {"trial": int, "step": int, "repeats": int, "seeds": int, "begun": str},
        ("trial", "step"),
    ),
    "events": (
        {"id": int, "trial": int, "phase": str, "begun": str, "seconds": float},
        ("id",),
    ),
}  # fmt: skip

OF_A_RUNG = ("rungs", "measures", "samples", "features", "scores")
"""The tables with the data of a rung; each has the columns trial and step."""

FRESH, EXTRA = "fresh_", "extra_"

_BESIDE: dict[str, dict[str, Any]] = {
    FRESH: {"repeat": int},
    EXTRA: {"base": str, "size": str, "alias": str},
}
for _name in OF_A_RUNG:
    _columns, _key = TABLES[_name]
    for _prefix, _more in _BESIDE.items():
        TABLES[_prefix + _name] = (_columns | _more, (*_key[:2], *_more, *_key[2:]))
TABLES[FRESH + "rungs"][0].update({"seed": int, "seeds": int, "reason": str})
TABLES[EXTRA + "rungs"][0].update({"reason": str})


def complete(database: sqlite_utils.Database, known: set[str]) -> None:
    """Create the tables and columns that a database of an older version lacks.

    `known` are the names of its tables; new ones are added to it.
    """
    if database.execute("pragma user_version").fetchone() != (FORMAT,):
        database.execute(f"pragma user_version = {FORMAT}")
    for name, (columns, key) in TABLES.items():
        table = database.table(name)
        if name not in known:
            table.create(columns, pk=key if len(key) > 1 else key[0])
            known.add(name)
        for column in columns.keys() - table.columns_dict:
            table.add_column(column, columns[column])


_ROWS = 50
"""Rows that one statement inserts: a statement for each takes a quarter longer."""


def insert(
    database: sqlite_utils.Database,
    table: str,
    names: Sequence[str],
    values: Sequence[tuple[Any, ...]],
    replacing: bool = False,
) -> None:
    """Insert the values of rows with the columns `names`, many rows with each statement.

    With `replacing` a row that is there keeps the columns that the new one does not have.
    sqlite_utils would look at the tables for each call, and make a statement for each few rows.
    """
    if not values:
        return
    keys, end = TABLES[table][1], ""
    if replacing:
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
        end = f" on conflict ({', '.join(keys)}) do update set {changes}"
    row, whole = f"({', '.join('?' for _ in names)})", len(values) // _ROWS * _ROWS
    for count, part in ((_ROWS, values[:whole]), (1, values[whole:])):
        statement = f"insert into {table} ({', '.join(names)}) values {', '.join([row] * count)}"
        groups = (part[at : at + count] for at in range(0, len(part), count))
        each = ([*itertools.chain.from_iterable(group)] for group in groups)
        database.conn.executemany(statement + end, each)


def update(
    database: sqlite_utils.Database, table: str, number: int, changes: Mapping[str, Any]
) -> None:
    """Change columns of the row with that number."""
    columns = ", ".join(f"{name} = ?" for name in changes)
    database.execute(f"update {table} set {columns} where number = ?", [*changes.values(), number])
