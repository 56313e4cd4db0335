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

from tuner.study.memory.changes import Changes, write_changes


class Mirror(BaseStorage):
    """Optuna's storage of one study, whose trials are in memory and in the database `backend`.

    A change is in the database when the call returns, within `together` when its context ends.
    """

    def __init__(self, backend: RDBStorage, study_id: int) -> None:
        """Create the mirror of the study `study_id`; its trials are read at once."""
        self.backend = backend
        self._study = study_id
        self._changes = Changes()
        self._waits = False
        self._forget()
        self._read()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write all changes of the context in one transaction at its end, or after an error."""
        if self._waits:
            yield
            return
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
            self._write()

    def _forget(self) -> None:
        self._trials: dict[int, FrozenTrial] = {}
        self._distributions: dict[str, BaseDistribution] = {}

    def _read(self) -> None:
        """Read all trials if others have queued some; the trials of this process are known."""
        newest = sqlalchemy.func.max(models.TrialModel.trial_id)
        query = sqlalchemy.select(newest).where(models.TrialModel.study_id == self._study)
        with self.backend.engine.connect() as connection:
            last = connection.execute(query).scalar()
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

    def _write(self) -> None:
        """Write the changes; after an error the database counts, and is read again."""
        changes, self._changes = self._changes, Changes()
        try:
            write_changes(self.backend.engine, changes)
        except BaseException:
            self._forget()
            raise

    def _changed(self, trial_id: int) -> FrozenTrial:
        """Return a copy of a running trial to be changed, in the place of the trial itself."""
        trial = self.get_trial(trial_id)
        self.check_trial_is_updatable(trial_id, trial.state)
        self._trials[trial_id] = changed = copy.copy(trial)
        return changed

    def _done(self) -> None:
        if not self._waits:
            self._write()

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
        distribution = self._one(param_name, distribution)
        trial = self._changed(trial_id)
        value = distribution.to_external_repr(param_value_internal)
        trial.params = {**trial.params, param_name: value}
        trial.distributions = {**trial.distributions, param_name: distribution}
        self._changes.set_parameter(trial_id, param_name, param_value_internal, distribution)
        self._done()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a running trial; what is read is what JSON makes of it."""
        text = json.dumps(value)
        trial = self._changed(trial_id)
        trial.user_attrs = {**trial.user_attrs, key: json.loads(text)}
        self._changes.user[trial_id, key] = text
        self._done()

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set one of Optuna's attributes of a running trial; read as what JSON makes of it."""
        text = json.dumps(value)
        trial = self._changed(trial_id)
        trial.system_attrs = {**trial.system_attrs, key: json.loads(text)}
        self._changes.system[trial_id, key] = text
        self._done()

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Set an intermediate value of a running trial."""
        trial = self._changed(trial_id)
        self.backend.set_trial_intermediate_value(trial_id, step, intermediate_value)
        trial.intermediate_values = {**trial.intermediate_values, step: intermediate_value}

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Begin a queued trial, or end a running one; False if it cannot be begun."""
        if not state.is_finished():
            begun = self.backend.set_trial_state_values(trial_id, state, values)
            self._trials[trial_id] = self.backend.get_trial(trial_id)
            return begun
        trial = self._changed(trial_id)
        trial.state, trial.datetime_complete = state, datetime.now()
        if values is not None:
            trial.values = list(values)
        self._changes.end(trial_id, state, trial.datetime_complete, values or ())
        self._done()
        return True

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial, a running one without a template; it is in the database at once."""
        trial = self.backend._create_new_trial(study_id, template_trial)
        # The database computes no values: what was given is what it gives back.
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
        self._read()
        chosen = [each for each in self._trials.values() if states is None or each.state in states]
        chosen.sort(key=lambda trial: trial.number)
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


@contextlib.contextmanager
def together(storage: BaseStorage) -> Iterator[None]:
    """Write all changes of the context in one transaction, if `storage` is a mirror."""
    if isinstance(storage, Mirror):
        with storage.together():
            yield
    else:
        yield
