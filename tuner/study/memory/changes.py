"""Changes of Optuna's trials, written to its database with one statement for each table.

The statements are for the schema of the Optuna that is installed: a database of another schema is
refused when it is opened (tuner.study.optuna_db).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.dialects import postgresql, sqlite

Row = dict[str, Any]


@dataclass
class Changes:
    """What is to be written of running trials: rows by table, attributes as JSON text by key."""

    parameters: list[Row] = field(default_factory=list)
    user: dict[tuple[int, str], str] = field(default_factory=dict)
    system: dict[tuple[int, str], str] = field(default_factory=dict)
    values: list[Row] = field(default_factory=list)
    ends: list[Row] = field(default_factory=list)

    def set_parameter(
        self, trial_id: int, name: str, value: float, distribution: BaseDistribution
    ) -> None:
        """Add a parameter in Optuna's internal form."""
        row = {"trial_id": trial_id, "param_name": name, "param_value": value}
        self.parameters.append(row | {"distribution_json": distribution_to_json(distribution)})

    def end(self, trial_id: int, state: TrialState, at: datetime, values: Sequence[float]) -> None:
        """Add the end of a trial, `at` in local time as Optuna has it."""
        for objective, value in enumerate(values):
            stored, kind = models.TrialValueModel.value_to_stored_repr(value)
            row = {"trial_id": trial_id, "objective": objective}
            self.values.append(row | {"value": stored, "value_type": kind})
        row = {"changed": trial_id, "state": state}
        self.ends.append(row | {"datetime_complete": _in_utc(at)})

    def is_empty(self) -> bool:
        """Return True if there is nothing to write."""
        return not any((self.parameters, self.user, self.system, self.values, self.ends))


def begin_trial(connection: sqlalchemy.Connection, study_id: int) -> FrozenTrial:
    """Write a new running trial and return it; its number is that of trials before it."""
    now = datetime.now()
    if connection.dialect.name != "sqlite":  # which has one writer at a time
        connection.execute(_STUDY, {"study": study_id})  # as Optuna: no other has this number
    row = {"study_id": study_id, "state": TrialState.RUNNING, "datetime_start": _in_utc(now)}
    written = connection.execute(_insert(models.TrialModel), row).inserted_primary_key
    assert written is not None
    key = written[0]
    number = connection.execute(_BEFORE, {"study": study_id, "own": key}).scalar_one()
    connection.execute(_CHANGE, {"changed": key, "number": number})
    return FrozenTrial(
        number=number,
        trial_id=key,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=now,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def write_changes(connection: sqlalchemy.Connection, changes: Changes) -> None:
    """Write all changes; raises sqlalchemy's error for a database that cannot be written."""
    dialect = connection.dialect.name
    tables = (
        (_insert(models.TrialParamModel), changes.parameters),
        (_upsert(models.TrialUserAttributeModel, dialect), _attributes(changes.user)),
        (_upsert(models.TrialSystemAttributeModel, dialect), _attributes(changes.system)),
        (_insert(models.TrialValueModel), changes.values),
        (_CHANGE, changes.ends),
    )
    for statement, rows in tables:
        if rows:
            connection.execute(statement, rows)


def _attributes(attributes: dict[tuple[int, str], str]) -> list[Row]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": text}
        for (trial_id, key), text in attributes.items()
    ]


@functools.cache
def _insert(model: type[models.BaseModel]) -> sqlalchemy.Insert:
    return sqlalchemy.insert(model.__table__)


@functools.cache
def _upsert(model: type[models.BaseModel], dialect: str) -> sqlalchemy.Insert:
    """Return the statement that writes an attribute, or replaces the one of that key."""
    kinds = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    write: Any = kinds[dialect](model.__table__)  # both have what follows, and no common type
    new = {"value_json": write.excluded.value_json}
    found: sqlalchemy.Insert = write.on_conflict_do_update(
        index_elements=["trial_id", "key"], set_=new
    )
    return found


def _in_utc(local: datetime) -> datetime:
    return local.astimezone(UTC).replace(tzinfo=None)


_TRIALS = models.TrialModel.__table__
_CHANGE = sqlalchemy.update(_TRIALS).where(_TRIALS.c.trial_id == sqlalchemy.bindparam("changed"))
"""Sets the columns that a row names."""
_STUDY = (
    sqlalchemy.select(models.StudyModel.study_id)
    .where(models.StudyModel.study_id == sqlalchemy.bindparam("study"))
    .with_for_update()
)
_BEFORE = (
    sqlalchemy.select(sqlalchemy.func.count())
    .select_from(_TRIALS)
    .where(_TRIALS.c.study_id == sqlalchemy.bindparam("study"))
    .where(_TRIALS.c.trial_id < sqlalchemy.bindparam("own"))
)
