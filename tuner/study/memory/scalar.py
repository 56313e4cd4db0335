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

    def __init__(self, inner: BaseSampler, scalar: Scalar) -> None:
        """Sample with `inner` on the numbers of `scalar`; a sampler is made for one trial."""
        self._inner, self._scalar = inner, scalar

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that are chosen together."""
        self._single = _on_numbers(study, trial, self._scalar)
        # Which parameters there are, a sampler finds by comparing all distributions of all trials.
        distinct = _study(_distinct(self._single.get_trials(deepcopy=False)))
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


def _on_numbers(study: optuna.Study, asked: FrozenTrial, scalar: Scalar) -> optuna.Study:
    """Return a study of one objective with the trials of `study` but the `asked` one."""
    trials = [
        trial
        for trial in study.get_trials(deepcopy=False, states=_LEARNED)
        if trial.number != asked.number
    ]
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    numbers = scalar(np.array([trial.values for trial in done])) if done else ()
    of_done = {
        trial.number: float(number) - _broken(trial)
        for trial, number in zip(done, numbers, strict=True)
    }
    return _study([_of_one_objective(trial, of_done.get(trial.number, -1.0)) for trial in trials])


def _study(trials: Sequence[FrozenTrial]) -> optuna.Study:
    return optuna.create_study(
        storage=_Listed(trials), direction="maximize", sampler=RandomSampler()
    )


def _distinct(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return one of the ended trials with the same distributions, the same objects that is."""
    found = {
        (*trial.distributions, *map(id, trial.distributions.values())): trial
        for trial in trials
        if trial.state.is_finished()
    }
    return list(found.values())


def _of_one_objective(trial: FrozenTrial, number: float) -> FrozenTrial:
    """Return the trial with `number` as its value, and without constraints."""
    single = copy_of(trial)
    single.system_attrs = {}
    if trial.state != TrialState.RUNNING:
        single.values = [number]
        single.state = TrialState.COMPLETE
    return single


def _broken(trial: FrozenTrial) -> float:
    # Not `trial.constraints`, in which is the list for the dashboard too.
    begin = f"{_CONSTRAINTS_KEY}:"
    by: list[float] = [by for name, by in trial.system_attrs.items() if name.startswith(begin)]
    return sum(max(each, 0.0) for each in by)
