"""results.db: everything that a study measured, with one table each for studies, trials, rungs,
measures, samples, features, scores and events (the phases with their seconds).

This module has all the SQL and is the only one that imports sqlite_utils. Rows are written one
complete rung at a time, and writing a rung again replaces it. The database is one file that can be
copied while nothing runs.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import sqlite_utils

from metrics.contract import Measure, Objective, Score, ScoredSample
from tuner.storage.columns import (
    BASE_NUMBER,
    Columns,
    read_features,
    read_measure,
    read_score,
    trial_number,
    utc_now,
)
from tuner.storage.extra_rows import ExtraRow
from tuner.storage.folder import StudyFolder
from tuner.storage.fresh_rows import FreshRow, FreshSample, PlanRow
from tuner.storage.json_text import json_text
from tuner.storage.lock import runner
from tuner.storage.packed import Values, pack
from tuner.storage.rows import RungRow, RunRow, SampleRow, StudyRow, TrialRow, read_objectives
from tuner.storage.schema import EXTRA, FRESH, OF_A_RUNG, TABLES, complete, insert, update
from tuner.storage.sqlite import BUSY_SECONDS, database_errors, opened_to_read, refuse_later

_KEY = ("trial", "step", "repeat", "base", "size", "alias")


class Store:
    """Access to results.db, as a context manager.

    Every method raises TunerError for a database that is locked for longer than 30 s, cannot be
    written, is not a database or is of a later version of tuner, and DiskError on a full disk.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        """Create the object without opening the database; paths in rows start at its folder.

        With `read_only` no file is changed, even while the study runs, and a table that does not
        exist yet has no rows.
        """
        self.path = path
        self.read_only = read_only
        self._root = path.parent.resolve()
        self._known: set[str] = set()

    def __enter__(self) -> Store:
        """Open the database, and create missing tables and columns."""
        with database_errors(self.path), contextlib.ExitStack() as stack:
            if self.read_only:
                in_use = runner(StudyFolder(self.path.parent).lock) is not None
                connection = stack.enter_context(opened_to_read(self.path, in_use))
            else:
                connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
                stack.enter_context(contextlib.closing(connection))
            refuse_later(connection, self.path)
            self._db = sqlite_utils.Database(connection)
            self._known = set(self._db.table_names())
            if not self.read_only:
                complete(self._db, self._known)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the database; everything written is committed already."""
        self._open.close()

    def put_study(self, study: StudyRow) -> None:
        """Write or replace the study's row, the only one of its table; its start time stays."""
        row = study.columns()
        with self.together():
            for old in self._db.table("studies").rows:
                row["begun"] = old["begun"]
            self._db.table("studies").delete_where()
            self._db.table("studies").insert(row)

    def begin_trial(
        self, number: int, parameters: Mapping[str, object], retry_of: int | None = None
    ) -> None:
        """Write the row of a trial that begins."""
        row: Columns = {"number": number, "state": "running", "reason": None, "seconds": None}
        row |= {"parameters": json_text(parameters), "retry_of": retry_of, "begun": utc_now()}
        with self.together(lasting=False):
            insert(self._db, "trials", tuple(row), [tuple(row.values())], replacing=True)

    def end_trial(
        self, number: int, state: str, reason: str | None = None, seconds: float | None = None
    ) -> None:
        """Write the end of a trial; a second call replaces it, and known seconds stay."""
        row = {"state": state, "reason": reason} | ({} if seconds is None else {"seconds": seconds})
        with self.together():
            update(self._db, "trials", number, row)

    def put_device(self, number: int, device: str) -> None:
        """Write the name of the device that a trial runs on."""
        with self.together():
            update(self._db, "trials", number, {"device": device})

    def put_rung(
        self, rung: RungRow, scored: Sequence[ScoredSample], cells: Sequence[int] | None = None
    ) -> None:
        """Write or replace a rung with its samples and scores.

        `scored` is in the order of the suite's cells, and each sample has a path below the study
        folder; `cells` are the samples' cells in the suite (None: all cells in order).
        """
        self._put("", rung.columns(self._root), rung.measures, scored, cells)

    def put_plan(self, plan: Sequence[PlanRow]) -> None:
        """Write the candidates to confirm; replaces an earlier plan."""
        with self.together():
            self._db.table("confirmations").delete_where()
            self._db.table("confirmations").insert_all([row.columns() for row in plan])

    def put_fresh(self, fresh: FreshRow, scored: Sequence[ScoredSample]) -> None:
        """Write or replace a LoRA's fresh samples and scores."""
        self._put(FRESH, fresh.columns(self._root), fresh.rung.measures, scored)

    def put_extra(self, extra: ExtraRow, scored: Sequence[ScoredSample]) -> None:
        """Write or replace the samples and scores of an extra suite."""
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
        values = [(*key.values(), *vars(measure).values()) for measure in measures.values()]
        tables = pack(scored).rows(self._root, cells, key)
        tables["rungs"] = tuple(row), [tuple(row.values())]
        tables["measures"] = (*key, *Measure.__dataclass_fields__), values
        with self.together():
            for name in OF_A_RUNG:
                self._db.execute(f"delete from {prefix + name} where {where}", list(key.values()))
                insert(self._db, prefix + name, *tables[name])

    def add_phase(self, trial: int | None, phase: str, begun: str, seconds: float) -> None:
        """Write a phase that ended, with its start (UTC); `trial` is None for work on the base."""
        row = {"trial": trial_number(trial), "phase": phase, "begun": begun, "seconds": seconds}
        with self.together():
            insert(self._db, "events", tuple(row), [tuple(row.values())])

    def put_run(self, run: RunRow) -> None:
        """Write or replace the time of a run of the study or of its confirmation."""
        with self.together():
            insert(self._db, "runs", tuple(vars(run)), [tuple(vars(run).values())], replacing=True)

    def runs(self) -> list[RunRow]:
        """Return the runs of the study and of its confirmation, in order."""
        return [RunRow(**row) for row in self._rows("runs", order_by="number")]

    def study(self) -> StudyRow | None:
        """Return the study's row; None before it was written."""
        rows = self._rows("studies")
        return StudyRow.read(rows[0]) if rows else None

    def trials(self) -> list[TrialRow]:
        """Return all trials by number."""
        return [TrialRow.read(row) for row in self._rows("trials", order_by="number")]

    def states(self) -> dict[int, str]:
        """Return the state of each trial by number."""
        return dict(self._values("select number, state from trials"))

    def rungs(self, trial: int | None) -> list[RungRow]:
        """Return the rungs of a trial (None: of the base) by step."""
        rows = self._measured("", "trial = ?", [trial_number(trial)])
        return [RungRow.read(row, measures, self._root) for row, measures in rows]

    def rungs_at(self, step: int, known: Container[int | None] = ()) -> list[RungRow]:
        """Return the rungs at a step of all trials but the `known`, without measures and files."""
        there = "select trial from rungs where step = ? and trial >= 0 order by trial"
        new = [trial for (trial,) in self._values(there, step) if trial not in known]
        query = (
            "select trial, step, objectives, rates, seeds from rungs where (trial, step) = (?, ?)"
        )
        return [RungRow.of_numbers(*row) for at in new for row in self._values(query, at, step)]

    def base_rates(self) -> Mapping[str, Objective]:
        """Return the rates of the base, none before they are stored."""
        rows = self._values("select rates from rungs where trial = ?", BASE_NUMBER)
        return read_objectives(rows[0][0]) if rows else {}

    def plan(self) -> list[PlanRow]:
        """Return the candidates to confirm; none if no confirmation was begun."""
        return [PlanRow(**row) for row in self._rows("confirmations", order_by="rowid")]

    def fresh(self) -> list[FreshRow]:
        """Return all LoRAs sampled on fresh noise: the base, then by trial, step and repeat."""
        return [FreshRow.read(*row, self._root) for row in self._measured(FRESH)]

    def extras(self) -> list[ExtraRow]:
        """Return all rungs sampled under extra suites: the base, then by trial."""
        return [ExtraRow.read(*row, self._root) for row in self._measured(EXTRA)]

    def _measured(
        self, prefix: str, where: str | None = None, args: Sequence[object] = ()
    ) -> list[tuple[Columns, dict[str, Measure]]]:
        """Return the rows of the rungs' table by key, each with its measures."""
        by_key: dict[tuple[object, ...], dict[str, Measure]] = {}
        for row in self._rows(prefix + "measures", where, args, order_by="rowid"):
            key = tuple(row.get(name) for name in _KEY)
            by_key.setdefault(key, {})[row["name"]] = read_measure(row)
        rows = self._rows(prefix + "rungs", where, args, ", ".join(TABLES[prefix + "rungs"][1]))
        return [(row, by_key.get(tuple(row.get(name) for name in _KEY), {})) for row in rows]

    def samples(self, trial: int | None, step: int) -> list[SampleRow]:
        """Return the samples of a rung in the order of the suite's cells."""
        return self._samples("", {"trial": trial_number(trial), "step": step})

    def fresh_samples(self, part: FreshSample) -> list[SampleRow]:
        """Return the fresh samples of a LoRA or of the base in the order of the suite's cells."""
        key = {"trial": trial_number(part.trial), "step": part.step, "repeat": part.repeat}
        return self._samples(FRESH, key)

    def extra_samples(self, extra: ExtraRow) -> list[SampleRow]:
        """Return the samples of an extra suite in the order of its cells."""
        row = extra.columns(self._root)
        return self._samples(EXTRA, {name: row[name] for name in _KEY if name in row})

    def _samples(self, prefix: str, key: Mapping[str, object]) -> list[SampleRow]:
        where = (" and ".join(f"{name} = ?" for name in key), list(key.values()))
        scores: dict[int, dict[str, Score]] = {}
        for row in self._rows(prefix + "scores", *where):
            scores.setdefault(row["cell"], {})[row["judge"]] = read_score(row)
        features = {
            row["cell"]: read_features(row) for row in self._rows(prefix + "features", *where)
        }
        rows = self._rows(prefix + "samples", *where, order_by="cell")
        return [
            SampleRow.read(row, scores.get(row["cell"], {}), features.get(row["cell"]), self._root)
            for row in rows
        ]

    def judge_versions(self) -> set[tuple[str, str | None]]:
        """Return every judge and version that gave a value in this study."""
        return set(self._values("select distinct judge, version from scores where value not null"))

    def rungs_by_trial(self) -> dict[int, list[RungRow]]:
        """Return the rungs of every trial that has any, by trial and step, without the base."""
        by_trial: dict[int, list[RungRow]] = {}
        for row, measures in self._measured("", "trial >= 0"):
            by_trial.setdefault(row["trial"], []).append(RungRow.read(row, measures, self._root))
        return by_trial

    def phases(self, *trials: int | None) -> list[tuple[str, float]]:
        """Return the phases of `trials` (None: the base; no argument: all) with their seconds."""
        of = {trial_number(trial) for trial in trials}
        rows = self._rows("events", order_by="id")
        return [(row["phase"], row["seconds"]) for row in rows if not of or row["trial"] in of]

    def _rows(
        self,
        table: str,
        where: str | None = None,
        args: Sequence[object] = (),
        order_by: str | None = None,
    ) -> list[Columns]:
        if table not in self._known:
            return []
        with database_errors(self.path):
            rows = self._db.table(table).rows_where(where, list(args), order_by)
            # Older versions have fewer columns, later ones may have more.
            return [{name: row.get(name) for name in TABLES[table][0]} for row in rows]

    def _values(self, query: str, *arguments: object) -> list[Values]:
        with database_errors(self.path):
            return list(self._db.execute(query, arguments))

    @contextlib.contextmanager
    def together(self, lasting: bool = True) -> Iterator[None]:
        """Write all of the context, or of an outer one, in one transaction; nothing on error.

        Without `lasting` a power cut may lose it, until a later one that lasts; a kill does not.
        """
        with database_errors(self.path):
            if self._db.conn.in_transaction:
                yield
                return
            through = "full" if lasting or self._db.journal_mode != "wal" else "normal"
            self._db.execute(f"pragma synchronous = {through}")
            with self._db.atomic():
                yield
