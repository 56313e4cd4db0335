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
from optuna.trial import TrialState
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
        utc = at.astimezone(UTC).replace(tzinfo=None)
        self.ends.append({"ended": trial_id, "state": state, "datetime_complete": utc})


def write_changes(engine: sqlalchemy.Engine, changes: Changes) -> None:
    """Write all changes in one transaction; nothing if there are none.

    Raises sqlalchemy's error for a database that cannot be written.
    """
    tables = (
        (_insert(models.TrialParamModel), changes.parameters),
        (_upsert(models.TrialUserAttributeModel, engine.name), _attributes(changes.user)),
        (_upsert(models.TrialSystemAttributeModel, engine.name), _attributes(changes.system)),
        (_insert(models.TrialValueModel), changes.values),
        (_END, changes.ends),
    )
    if not any(rows for _, rows in tables):
        return
    with engine.begin() as connection:
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
    write = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect](model.__table__)
    new = {"value_json": write.excluded.value_json}
    return write.on_conflict_do_update(index_elements=["trial_id", "key"], set_=new)


_TRIALS = models.TrialModel.__table__
_END = sqlalchemy.update(_TRIALS).where(_TRIALS.c.trial_id == sqlalchemy.bindparam("ended"))
"""Sets the columns that the rows name."""
