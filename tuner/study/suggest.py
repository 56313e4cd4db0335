"""Draw the parameters of a trial from a search space with Optuna."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.space import StudyConfig, TrainConfig
from tuner.space.load import recipe_train
from tuner.space.parameters import Choices, Fixed, FloatRange, IntRange, Value, applies, is_bound
from tuner.space.recipes import RECIPE, TRAINING_SEED

if TYPE_CHECKING:
    import optuna


_LAST_SEED = 999_999


_TRIAL_SEED_STRIDE = 1000
"""Distance between the seeds of two trials, so that one trial may use several."""


def suggest(trial: optuna.Trial, config: StudyConfig) -> TrainConfig:
    """Return the configuration of one training run, with a value drawn for each range.

    Optuna's parameters have the names of the keys. Unless the space sets `seed`, it is the study's
    seed + 1000 x the trial's number; a retry has the seed of the first try.
    """
    if config.recipes:
        name = trial.suggest_categorical(RECIPE, list(config.recipes))
        return recipe_train(config, name, trial.suggest_int(TRAINING_SEED, 0, _LAST_SEED))
    first = int(trial.user_attrs.get("first_try", trial.number))
    values: dict[str, Value] = {"seed": config.seed + _TRIAL_SEED_STRIDE * first}
    # Parameters that conditions refer to have no condition themselves, so they are drawn first.
    for name, parameter in sorted(config.train.items(), key=lambda item: is_bound(item[1])):
        if not applies(parameter, values):
            continue
        match parameter:
            case Fixed(value):
                values[name] = value
            case Choices(choices):
                values[name] = trial.suggest_categorical(name, choices)
            case FloatRange(low, high, log, step):
                values[name] = trial.suggest_float(name, low, high, log=log, step=step)
            case IntRange(low, high, log, step):
                values[name] = trial.suggest_int(name, low, high, log=log, step=step)
    return TrainConfig.model_validate(values)


def start_parameters(config: StudyConfig) -> list[dict[str, Value]]:
    """Return the starting points for `optuna.Study.enqueue_trial`: searched parameters only."""
    searched = {key for key, value in config.train.items() if not isinstance(value, Fixed)}
    starts = [{k: v for k, v in start.items() if k in searched} for start in config.start_from]
    return [start for start in starts if start]
