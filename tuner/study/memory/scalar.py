"""A sampler for studies of several objectives that learns from one number, as the strength.

Optuna would copy every trial for each study that is made of others; here a study is made for each
trial that is asked for, of trials that are not copied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState

from tuner.study.memory.mirror import copy_of

_LEARNED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
"""States of the trials that a sampler learns from or keeps away from."""


Scalar = Callable[[np.ndarray], np.ndarray]
"""Takes the objectives of all finished trials (trials x objectives), returns a number for each."""


class ScalarSampler(BaseSampler):
    """A sampler for one objective that sees one number for the several objectives of a study.

    What a trial breaks is subtracted from its number: how far it is over its limits, or behind
    others. The number of a pruned trial is -1.
    """

    def __init__(self, inner: BaseSampler, scalar: Scalar, copies: Copies | None = None) -> None:
        """Sample with `inner` on the numbers of `scalar`; a sampler is made for one trial.

        `copies` are those of the sampler before (None: none), for which the study was the same.
        """
        self._inner, self._scalar, self.copies = inner, scalar, copies or Copies()

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that are chosen together."""
        self._single = _on_numbers(study, trial, self._scalar, self.copies)
        # Which parameters there are, a sampler finds by comparing all distributions of all trials.
        distinct = _study([*self.copies.distinct.values()])
        return self._inner.infer_relative_search_space(distinct, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return their values."""
        return self._inner.sample_relative(self._single, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Return the value of a parameter that is chosen by itself."""
        return self._inner.sample_independent(self._single, trial, name, distribution)


class Copies:
    """Trials of one objective, each made once for a trial of several that has ended.

    `distinct` has one of those with the same distributions, the same objects that is.
    """

    def __init__(self) -> None:
        """Create the copies of a study, none at first."""
        self.distinct: dict[tuple[object, ...], FrozenTrial] = {}
        self._known: dict[int, tuple[FrozenTrial, float, FrozenTrial]] = {}

    def of(self, trial: FrozenTrial, value: float | None) -> FrozenTrial:
        """Return a trial with its value, less what it breaks; `value` is None if it has none."""
        if trial.state == TrialState.RUNNING:
            return _of_one_objective(trial, None)
        number = -1.0 if value is None else value
        known = self._known.get(trial.number)
        if known is not None and known[0] is trial and known[1] == number:
            return known[2]
        single = _of_one_objective(trial, number - (0.0 if value is None else _broken(trial)))
        self._known[trial.number] = trial, number, single
        self.distinct[(*trial.distributions, *map(id, trial.distributions.values()))] = single
        return single


class _Listed(InMemoryStorage):
    """The storage of a study whose trials are given, and not copied."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._listed = list(trials)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        chosen = [each for each in self._listed if states is None or each.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Drop what a sampler notes of the asked trial: no other sampler is told of it here."""


def strengths(values: np.ndarray) -> np.ndarray:
    """Return the geometric mean of the objectives of each trial; `values`: trials x objectives."""
    return np.asarray(np.maximum(values, 0.0).prod(axis=1) ** (1 / values.shape[1]))


def _on_numbers(
    study: optuna.Study, asked: FrozenTrial, scalar: Scalar, copies: Copies
) -> optuna.Study:
    """Return a study of one objective with the trials of `study` but the `asked` one."""
    trials = study.get_trials(deepcopy=False, states=_LEARNED)
    done = [trial.values for trial in trials if trial.state == TrialState.COMPLETE]
    numbers = iter(scalar(np.array(done)).tolist() if done else ())
    singles = [
        copies.of(trial, next(numbers) if trial.state == TrialState.COMPLETE else None)
        for trial in trials
    ]
    return _study([single for single in singles if single.number != asked.number])


def _study(trials: Sequence[FrozenTrial]) -> optuna.Study:
    return optuna.create_study(
        storage=_Listed(trials), direction="maximize", sampler=RandomSampler()
    )


def _of_one_objective(trial: FrozenTrial, number: float | None) -> FrozenTrial:
    """Return the trial without constraints, and if it has a `number`, complete with that value."""
    single = copy_of(trial)
    single.system_attrs = {}
    if number is not None:
        single.values = [number]
        single.state = TrialState.COMPLETE
    return single


def _broken(trial: FrozenTrial) -> float:
    # Not `trial.constraints`, in which is the list for the dashboard too.
    begin = f"{_CONSTRAINTS_KEY}:"
    by: list[float] = [by for name, by in trial.system_attrs.items() if name.startswith(begin)]
    return sum(max(each, 0.0) for each in by)
