"""Optuna's trials of a running study in memory, written through to its database.

Optuna's own cache reads each running trial again whenever the trials are asked for, and writes each
attribute in a transaction of its own: with 64 workers that is most of what this process does. The
study's lock makes this process the only one that changes trials; what others may do while a study
runs is to queue trials, and those are read as soon as there are any.
"""

from __future__ import annotations

import contextlib
import copy
import json
import operator
import time
from collections.abc import Container, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from tuner.study.memory.changes import Changes, begin_trial, write_changes


class Mirror(BaseStorage):
    """Optuna's storage of one study, whose trials are in memory and in the database `backend`.

    A change is in the database when the call returns, within `together` when its context ends. What
    others have queued is read whenever it is asked for, within `together` once.
    """

    def __init__(self, backend: RDBStorage, study_id: int) -> None:
        """Create the mirror of the study `study_id`; its trials are read at once."""
        self.backend = backend
        self._study = study_id
        self._depth = 0
        self._is_read = False
        self._connection: sqlalchemy.Connection | None = None
        self._forget()
        self._read()

    def _forget(self) -> None:
        self._trials: dict[int, FrozenTrial] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._changes = Changes()
        self._waits_since: float | None = None

    @contextlib.contextmanager
    def together(self, now: bool = True) -> Iterator[None]:
        """Write all changes of the context in one transaction at its end; none after an error.

        Without `now` they are written with the next ones, or by `write_late`.
        """
        self._depth += 1
        try:
            yield
            if self._depth == 1 and now:
                self._commit()
            elif self._depth == 1:
                self._waits_since = self._waits_since or time.monotonic()
        except BaseException:
            self._roll_back()
            raise
        finally:
            self._depth -= 1
            self._is_read = self._is_read and self._depth > 0

    def write_late(self) -> None:
        """Write the changes that have waited for the next ones for a second."""
        if self._waits_since is not None and time.monotonic() - self._waits_since >= _LATE:
            self._commit()

    def _commit(self) -> None:
        """Write the changes of running trials, and end the transaction."""
        if self._connection is None and self._changes.is_empty():
            return
        connection = self._transaction()
        write_changes(connection, self._changes)
        connection.commit()
        connection.close()
        self._connection, self._changes, self._waits_since = None, Changes(), None

    def _roll_back(self) -> None:
        """Give up what is not written: the database counts, and is read again."""
        connection, self._connection = self._connection, None
        self._forget()
        if connection is not None:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                connection.close()

    def _transaction(self) -> sqlalchemy.Connection:
        if self._connection is None:
            self._connection = self.backend.engine.connect()
        return self._connection

    def _read(self) -> None:
        """Read all trials if others have queued some; the trials of this process are known."""
        if self._depth:  # begin, note and end a trial with one connection
            last = self._transaction().execute(_NEWEST, {"study": self._study}).scalar()
        else:
            with self.backend.engine.connect() as connection:
                last = connection.execute(_NEWEST, {"study": self._study}).scalar()
        self._is_read = self._depth > 0
        if last is None or last in self._trials:
            return
        for trial in self.backend.get_all_trials(self._study, deepcopy=False):
            trial.distributions = {
                name: self._one(name, distribution)
                for name, distribution in trial.distributions.items()
            }
            self._trials.setdefault(trial._trial_id, trial)

    def _one(self, name: str, distribution: BaseDistribution) -> BaseDistribution:
        """Return the object that all trials have for equal distributions of a parameter."""
        known = self._distributions.get(name)
        if known != distribution:
            self._distributions[name] = known = distribution
        return known

    def _changed(self, trial_id: int) -> FrozenTrial:
        """Return a copy of a running trial to be changed, in the place of the trial itself."""
        trial = self.get_trial(trial_id)
        self.check_trial_is_updatable(trial_id, trial.state)
        self._trials[trial_id] = changed = copy_of(trial)
        return changed

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Set a parameter of a running trial."""
        if (known := self._distributions.get(param_name)) is not None:
            check_distribution_compatibility(known, distribution)
        with self.together():
            distribution = self._one(param_name, distribution)
            trial = self._changed(trial_id)
            value = distribution.to_external_repr(param_value_internal)
            trial.params = {**trial.params, param_name: value}
            trial.distributions = {**trial.distributions, param_name: distribution}
            self._changes.set_parameter(trial_id, param_name, param_value_internal, distribution)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a running trial; what is read is what JSON makes of it."""
        text = json.dumps(value)
        with self.together():
            trial = self._changed(trial_id)
            trial.user_attrs = {**trial.user_attrs, key: json.loads(text)}
            self._changes.user[trial_id, key] = text

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set one of Optuna's attributes of a running trial; read as what JSON makes of it."""
        text = json.dumps(value)
        with self.together():
            trial = self._changed(trial_id)
            trial.system_attrs = {**trial.system_attrs, key: json.loads(text)}
            self._changes.system[trial_id, key] = text

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Set an intermediate value of a running trial."""
        self._commit()  # the backend has a connection of its own
        self.backend.set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._trials[trial_id] = self.backend.get_trial(trial_id)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Begin a queued trial, or end a running one; False if it cannot be begun."""
        if not state.is_finished():
            self._commit()
            begun = self.backend.set_trial_state_values(trial_id, state, values)
            self._trials[trial_id] = self.backend.get_trial(trial_id)
            return begun
        with self.together():
            trial = self._changed(trial_id)
            trial.state, trial.datetime_complete = state, datetime.now()
            if values is not None:
                trial.values = list(values)
            self._changes.end(trial_id, state, trial.datetime_complete, values or ())
        return True

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial, a running one without a template."""
        if template_trial is None:
            with self.together():
                trial = begin_trial(self._transaction(), study_id)
                self._trials[trial._trial_id] = trial
        else:
            self._commit()
            trial = self.backend._create_new_trial(study_id, template_trial)
            self._trials[trial._trial_id] = trial
        return trial._trial_id

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial, which a later change does not change."""
        if trial_id not in self._trials:
            self._read()
        return self._trials[trial_id]

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials by number, with those that other programs have queued by now."""
        if study_id != self._study:
            return self.backend.get_all_trials(study_id, deepcopy, states)
        wanted = states is None or TrialState.WAITING in states  # what others queue waits
        if not self._trials or (wanted and not self._is_read):
            self._read()
        chosen = [each for each in self._trials.values() if states is None or each.state in states]
        chosen.sort(key=_NUMBER)
        return copy.deepcopy(chosen) if deepcopy else chosen

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Create another study in the database."""
        return self.backend.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """Delete a study in the database."""
        self.backend.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of a study."""
        self.backend.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set one of Optuna's attributes of a study."""
        self.backend.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the number of a study in the database."""
        return self.backend.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of a study."""
        return self.backend.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the directions of a study."""
        return self.backend.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the attributes of a study."""
        return self.backend.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return Optuna's attributes of a study."""
        return self.backend.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return all studies of the database."""
        return self.backend.get_all_studies()


_LATE = 1.0
"""Seconds after which changes no longer wait for the next ones."""

_NUMBER = operator.attrgetter("_number")
"""Of a trial: `number` is a property, which takes three times as long."""

_NEWEST = sqlalchemy.select(sqlalchemy.func.max(models.TrialModel.trial_id)).where(
    models.TrialModel.study_id == sqlalchemy.bindparam("study")
)


def copy_of(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial with the same parts: as `copy.copy`, which takes five times as long."""
    new = object.__new__(FrozenTrial)
    vars(new).update(vars(trial))
    return new


@contextlib.contextmanager
def together(storage: BaseStorage, now: bool = True) -> Iterator[None]:
    """Write all changes of the context in one transaction, if `storage` is a mirror.

    Without `now` they are written with the next ones, or by `write_late`; a kill before loses them.
    """
    with storage.together(now) if isinstance(storage, Mirror) else contextlib.nullcontext():
        yield


def write_late(storage: BaseStorage) -> None:
    """Write the changes that have waited for the next ones for a second, if there are any."""
    if isinstance(storage, Mirror):
        storage.write_late()
