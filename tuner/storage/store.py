"""results.db: what a study measured, one table each for studies, trials, rungs, measures, samples,
features, scores and events (the phases with their seconds).

The only SQL and the only importer of sqlite_utils. Rows are written a rung at a time, whole, and
writing a rung again replaces it. It is one file that can be copied while nothing runs.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import sqlite_utils

from metrics.contract import Measure, Score, ScoredSample
from tuner.storage.extra_rows import ExtraRow
from tuner.storage.folder import StudyFolder
from tuner.storage.fresh_rows import FreshRow, FreshSample, PlanRow
from tuner.storage.lock import runner
from tuner.storage.rows import (
    Columns,
    RungRow,
    SampleRow,
    StudyRow,
    TrialRow,
    cell_columns,
    json_text,
    read_features,
    read_measure,
    read_score,
    trial_number,
)
from tuner.storage.schema import EXTRA, FRESH, OF_A_RUNG, TABLES
from tuner.storage.sqlite import BUSY_SECONDS, database_error, opened_to_read

_KEY = ("trial", "step", "repeat", "base", "size", "alias")


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
        with self._telling(), contextlib.ExitStack() as stack:
            if self.read_only:
                in_use = runner(StudyFolder(self.path.parent).lock) is not None
                connection = stack.enter_context(opened_to_read(self.path, in_use))
            else:
                connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
                stack.enter_context(contextlib.closing(connection))
            self._db = sqlite_utils.Database(connection)
            self._known = set(self._db.table_names())
            if not self.read_only:
                self._complete()
            self._open = stack.pop_all()
        return self

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
        self._open.close()

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
        self._put("", rung.columns(self._root), rung.measures, scored, cells)

    def put_plan(self, plan: Sequence[PlanRow]) -> None:
        """Write which candidates are to be confirmed, in place of an earlier plan."""
        with self._writing():
            self._table("confirmations").delete_where()
            self._table("confirmations").insert_all([one.columns() for one in plan])

    def put_fresh(self, fresh: FreshRow, scored: Sequence[ScoredSample]) -> None:
        """Write a LoRA's fresh samples and scores, in place of what was known of it."""
        self._put(FRESH, fresh.columns(self._root), fresh.rung.measures, scored)

    def put_extra(self, extra: ExtraRow, scored: Sequence[ScoredSample]) -> None:
        """Write what was sampled beside the suite, in place of what was known of it."""
        self._put(EXTRA, extra.columns(self._root), extra.rung.measures, scored)

    def _put(
        self,
        prefix: str,
        row: Columns,
        measures: Mapping[str, Measure],
        scored: Sequence[ScoredSample],
        cells: Sequence[int] | None = None,
    ) -> None:
        key = {name: row[name] for name in _KEY if name in row}
        where = " and ".join(f"{name} = ?" for name in key)
        rows = {
            "rungs": [row],
            "measures": [key | asdict(one) for one in measures.values()],
        } | cell_columns(scored, self._root, cells)
        with self._writing():
            for name in OF_A_RUNG:
                table = self._table(prefix + name)
                table.delete_where(where, list(key.values()))
                table.insert_all([key | one for one in rows[name]])

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
        found = self._measured("", "trial = ?", [trial_number(trial)])
        return [RungRow.read(*one, self._root) for one in found]

    def rungs_at(self, step: int) -> list[RungRow]:
        """The rungs of all trials at a step, by trial, without their measures."""
        rows = self._rows("rungs", "step = ? and trial >= 0", [step], order_by="trial")
        return [RungRow.read(row, {}, self._root) for row in rows]

    def plan(self) -> list[PlanRow]:
        """The candidates that are to be confirmed; none where no confirmation was begun."""
        return [PlanRow(**row) for row in self._rows("confirmations", order_by="rowid")]

    def fresh(self) -> list[FreshRow]:
        """Everything that was sampled on fresh noise: the base, then by trial, step and repeat."""
        return [FreshRow.read(*one, self._root) for one in self._measured(FRESH)]

    def extras(self) -> list[ExtraRow]:
        """Everything that was sampled beside the suite: the base's, then by trial."""
        return [ExtraRow.read(*one, self._root) for one in self._measured(EXTRA)]

    def _measured(
        self, prefix: str, where: str | None = None, args: Sequence[object] = ()
    ) -> list[tuple[Columns, dict[str, Measure]]]:
        found: dict[tuple[object, ...], dict[str, Measure]] = {}
        for row in self._rows(prefix + "measures", where, args, order_by="rowid"):
            key = tuple(row.get(name) for name in _KEY)
            found.setdefault(key, {})[row["name"]] = read_measure(row)
        rows = self._rows(prefix + "rungs", where, args, ", ".join(TABLES[prefix + "rungs"][1]))
        return [(row, found.get(tuple(row.get(name) for name in _KEY), {})) for row in rows]

    def samples(self, trial: int | None, step: int) -> list[SampleRow]:
        """The samples of a rung in the order of the suite's cells."""
        return self._samples("", {"trial": trial_number(trial), "step": step})

    def fresh_samples(self, part: FreshSample) -> list[SampleRow]:
        """The fresh samples of a LoRA, or of the base, in the order of the suite's cells."""
        key = {"trial": trial_number(part.trial), "step": part.step, "repeat": part.repeat}
        return self._samples(FRESH, key)

    def extra_samples(self, extra: ExtraRow) -> list[SampleRow]:
        """The samples of an extra, in the order of the suite's cells."""
        row = extra.columns(self._root)
        return self._samples(EXTRA, {name: row[name] for name in _KEY if name in row})

    def _samples(self, prefix: str, key: Mapping[str, object]) -> list[SampleRow]:
        these = (" and ".join(f"{name} = ?" for name in key), list(key.values()))
        scores: dict[int, dict[str, Score]] = {}
        for row in self._rows(prefix + "scores", *these):
            scores.setdefault(row["cell"], {})[row["judge"]] = read_score(row)
        seen = self._rows(prefix + "features", *these)
        features = {row["cell"]: read_features(row) for row in seen}
        rows = self._rows(prefix + "samples", *these, order_by="cell")
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

    def rungs_by_trial(self) -> dict[int, list[RungRow]]:
        """The rungs of every trial that has some, by trial and step, without the base's."""
        by_trial: dict[int, list[RungRow]] = {}
        for row, measures in self._measured("", "trial >= 0"):
            rung = RungRow.read(row, measures, self._root)
            by_trial.setdefault(row["trial"], []).append(rung)
        return by_trial

    def all_phases(self) -> list[tuple[str, float]]:
        """Every phase of the study's work with its seconds, in order."""
        return [(row["phase"], row["seconds"]) for row in self._rows("events", order_by="id")]

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


def utc_now() -> str:
    """The time as the databases keep it: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
