"""results.db: what a study measured, one table each for studies, trials, rungs, measures, samples,
features, scores and events (the phases with their seconds).

The only SQL and the only importer of sqlite_utils. Rows are written a rung at a time, whole, and
writing a rung again replaces it. WAL stays off: one file that can be copied while nothing runs,
also on network folders.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import sqlite_utils

from metrics.contract import Measure, Score, ScoredSample
from tuner.errors import DiskError, TunerError
from tuner.rows import (
    Columns,
    RungRow,
    SampleRow,
    StudyRow,
    TrialRow,
    features_columns,
    json_text,
    read_features,
    read_measure,
    read_score,
    sample_columns,
    score_columns,
    trial_number,
)
from tuner.tables import TABLES

BUSY_SECONDS = 30.0

_UNFINISHED = ("SQLITE_READONLY", "SQLITE_CANTOPEN")


class Store:
    """results.db, open: a context manager. Every method raises TunerError for a database that
    is locked for longer than 30 s, full (DiskError), not writable or not a database."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        """Opens nothing yet; paths in the rows start at the folder of `path`.

        With `read_only` nothing is written, whoever runs the study, and a table that is not made
        yet has no rows.
        """
        self.path = path
        self.read_only = read_only
        self._root = path.parent.resolve()
        self._known: set[str] = set()

    def __enter__(self) -> Store:
        """Open the database and make the tables, and columns of tables, that it lacks."""
        with self._telling():
            if not self.read_only:
                self._open(sqlite3.connect(self.path, timeout=BUSY_SECONDS))
                return self
            address = f"{self.path.resolve().as_uri()}?mode=ro"
            try:
                self._open(sqlite3.connect(address, timeout=BUSY_SECONDS, uri=True))
            except sqlite3.OperationalError as error:
                name = str(error.sqlite_errorname)
                if not (name.startswith(_UNFINISHED) and self.path.is_file()):
                    raise
                # A process was killed while it wrote: SQLite has to put the file in order first.
                self._open(sqlite3.connect(self.path, timeout=BUSY_SECONDS))
        return self

    def _open(self, connection: sqlite3.Connection) -> None:
        self._db = sqlite_utils.Database(connection)
        try:
            self._known = set(self._db.table_names())
            if not self.read_only:
                self._complete()
        except BaseException:
            self._db.close()
            raise

    def _complete(self) -> None:
        """Make the tables, and columns of tables, that an older database lacks."""
        for name, (columns, key) in TABLES.items():
            if name not in self._known:
                self._table(name).create(columns, pk=key if len(key) > 1 else key[0])
                self._known.add(name)
            for column in columns.keys() - self._table(name).columns_dict:
                self._table(name).add_column(column, columns[column])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the database; what was written is written."""
        self._db.close()

    def put_study(self, study: StudyRow) -> None:
        """Write the study's row, or write it anew; the time of its beginning stays."""
        row = study.columns()
        with self._writing():
            for old in self._table("studies").rows_where("name = ?", [study.name]):
                row["begun"] = old["begun"]
            self._table("studies").upsert(row, pk="name")

    def begin_trial(
        self, number: int, parameters: Mapping[str, object], retry_of: int | None = None
    ) -> None:
        """A trial got its parameters."""
        row: Columns = {
            "number": number,
            "state": "running",
            "reason": None,
            "parameters": json_text(parameters),
            "retry_of": retry_of,
            "begun": utc_now(),
            "seconds": None,
        }
        with self._writing():
            self._table("trials").upsert(row, pk="number")

    def end_trial(
        self, number: int, state: str, reason: str | None = None, seconds: float | None = None
    ) -> None:
        """A begun trial is over. Told again, the last word counts; known seconds stay."""
        row: Columns = {"state": state, "reason": reason}
        if seconds is not None:
            row["seconds"] = seconds
        with self._writing():
            self._table("trials").update(number, row)

    def put_rung(
        self, rung: RungRow, scored: Sequence[ScoredSample], cells: Sequence[int] | None = None
    ) -> None:
        """Write a rung with its samples and scores, in place of what was known of it.

        `scored` is in the order of the suite's cells, and each sample has a path below the
        study folder; `cells` are their places in the suite (None: all of it from the first on).
        """
        row = rung.columns(self._root)
        key = {"trial": row["trial"], "step": row["step"]}
        cells = range(len(scored)) if cells is None else cells
        placed = list(zip(cells, scored, strict=True))
        samples = [key | sample_columns(cell, one, self._root) for cell, one in placed]
        scores = [
            key | score_columns(cell, score)
            for cell, one in placed
            for score in one.scores.values()
        ]
        features = [
            key | features_columns(cell, one.features)
            for cell, one in placed
            if one.features is not None
        ]
        with self._writing():
            for name in ("scores", "features", "samples", "measures", "rungs"):
                self._table(name).delete_where("trial = ? and step = ?", list(key.values()))
            self._table("rungs").insert(row)
            self._table("measures").insert_all([key | asdict(m) for m in rung.measures.values()])
            self._table("samples").insert_all(samples)
            self._table("features").insert_all(features)
            self._table("scores").insert_all(scores)

    def add_phase(self, trial: int | None, phase: str, begun: str, seconds: float) -> None:
        """A phase of the work is over; `trial` is None for work on the base."""
        row = {"trial": trial_number(trial), "phase": phase, "begun": begun, "seconds": seconds}
        with self._writing():
            self._table("events").insert(row)

    def study(self) -> StudyRow | None:
        """The study, or None before it was written."""
        rows = self._rows("studies", limit=1)
        return StudyRow.read(rows[0]) if rows else None

    def trials(self) -> list[TrialRow]:
        """All trials by number."""
        return [TrialRow.read(row) for row in self._rows("trials", order_by="number")]

    def rungs(self, trial: int | None) -> list[RungRow]:
        """The rungs of a trial (of the base: None) by step."""
        rows = self._rows("rungs", "trial = ?", [trial_number(trial)], order_by="step")
        found: dict[int, dict[str, Measure]] = {}
        for row in self._rows("measures", "trial = ?", [trial_number(trial)], order_by="rowid"):
            found.setdefault(row["step"], {})[row["name"]] = read_measure(row)
        return [RungRow.read(row, found.get(row["step"], {}), self._root) for row in rows]

    def rungs_at(self, step: int) -> list[RungRow]:
        """The rungs of all trials at a step, by trial, without their measures."""
        rows = self._rows("rungs", "step = ? and trial >= 0", [step], order_by="trial")
        return [RungRow.read(row, {}, self._root) for row in rows]

    def samples(self, trial: int | None, step: int) -> list[SampleRow]:
        """The samples of a rung in the order of the suite's cells."""
        this_rung = ("trial = ? and step = ?", [trial_number(trial), step])
        scores: dict[int, dict[str, Score]] = {}
        for row in self._rows("scores", *this_rung):
            scores.setdefault(row["cell"], {})[row["judge"]] = read_score(row)
        features = {row["cell"]: read_features(row) for row in self._rows("features", *this_rung)}
        rows = self._rows("samples", *this_rung, order_by="cell")
        return [
            SampleRow.read(row, scores.get(row["cell"], {}), features.get(row["cell"]), self._root)
            for row in rows
        ]

    def judge_versions(self) -> set[tuple[str, str | None]]:
        """Every judge that gave a value in this study, with the versions that did."""
        with self._telling():
            rows = self._table("scores").rows_where(
                "value is not null", select="distinct judge, version"
            )
            return {(row["judge"], row["version"]) for row in rows}

    def phases(self, trial: int | None) -> list[tuple[str, float]]:
        """The phases of a trial (of the base: None) with their seconds, in order."""
        rows = self._rows("events", "trial = ?", [trial_number(trial)], order_by="id")
        return [(row["phase"], row["seconds"]) for row in rows]

    def _table(self, name: str) -> sqlite_utils.db.Table:
        return self._db.table(name)

    def _rows(
        self,
        table: str,
        where: str | None = None,
        args: Sequence[object] = (),
        order_by: str | None = None,
        limit: int | None = None,
    ) -> list[Columns]:
        if table not in self._known:
            return []
        with self._telling():
            return list(self._table(table).rows_where(where, list(args), order_by, limit=limit))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._telling(), self._db.atomic():
            yield

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise database_error(error, self.path) from error


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


def utc_now() -> str:
    """The time as the databases keep it: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
