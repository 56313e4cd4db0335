"""From a search-space file to a checked study, and from its ranges to one training run.

Everything that is wrong with a file is told at once, before any model is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.config import StudyConfig, TrainConfig
from tuner.errors import ConfigError
from tuner.parameters import (
    Choices,
    Fixed,
    FloatRange,
    IntRange,
    Parameter,
    Value,
    applies,
    is_bound,
)
from tuner.problems import Problem, check_model
from tuner.recipe_check import read_recipe_keys, with_recipes
from tuner.recipes import RECIPE, TRAINING_SEED
from tuner.sizes import native_size
from tuner.space_check import (
    grid_problems,
    other_base_problems,
    prior_problems,
    read_constraints,
    read_prompts,
    read_starts,
    read_train,
    seed_problems,
    size_problems,
)
from tuner.space_file import Tree, assignment, load_tree, overlay
from tuner.space_paths import data_path as data_word
from tuner.space_paths import model_path
from tuner.space_text import plain_values, to_yaml

if TYPE_CHECKING:
    import optuna

__all__ = [
    "Choices",
    "Fixed",
    "FloatRange",
    "IntRange",
    "Parameter",
    "load_study",
    "space_hash",
    "start_parameters",
    "suggest",
    "to_yaml",
]

_YOUNGER = (
    "first_captions",
    "first_share",
    "target_modules",
    "lora_dropout",
    "use_dora",
    "use_rslora",
    "optimizer",
    "schedule",
    "warmup_steps",
    "gradient_accumulation",
    "gradient_checkpointing",
    "min_snr_gamma",
    "noise_offset",
    "clip_skip",
    "prior_weight",
    "buckets",
)
"""Training keys that the first studies had not: with their defaults they mean the same study."""

_LAST_SEED = 999_999

_TRIAL_SEED_STRIDE = 1000
"""Distance between the seeds of two trials, so that one trial may use several."""


def load_study(
    path: str | Path,
    *,
    base: str | None = None,
    data: str | None = None,
    trials: int | None = None,
    seed: int | None = None,
    set_values: Sequence[str] = (),
) -> StudyConfig:
    """The study that a search-space file describes, with the overrides of the command line.

    `base`, `data`, `trials` and `seed` are the options of that name; paths in them and in
    `set_values` (`train.rank=8`, later ones win) start at the current folder, paths in the file
    at the file's. A parameter that `set_values` names is dropped from `start_from`.

    Raises ConfigError with one line for each problem.
    """
    options = _option_trees(base, data, trials, seed)
    settings = [assignment(text) for text in set_values]
    tree = load_tree(Path(path))
    for over in (*options, *settings):
        tree = overlay(tree, over)
    _drop_set_starts(tree, settings)
    _fill_defaults(tree)
    config, problems = _build(tree)
    if config is None or problems:
        lines = [tree.line(problem) for problem in (*tree.problems, *problems)]
        raise ConfigError("\n".join(dict.fromkeys(lines)))
    return config


def suggest(trial: optuna.Trial, config: StudyConfig) -> TrainConfig:
    """One training run: a value for each range, the fixed ones as they are.

    Optuna's parameters bear the names of the keys. Unless the space sets `seed`, each trial has
    its own: the study's + 1000 x the trial's number, for a retry that of the first try.
    """
    if config.recipes:
        name = trial.suggest_categorical(RECIPE, list(config.recipes))
        return recipe_train(config, name, trial.suggest_int(TRAINING_SEED, 0, _LAST_SEED))
    first = int(trial.user_attrs.get("first_try", trial.number))
    values: dict[str, Value] = {"seed": config.seed + _TRIAL_SEED_STRIDE * first}
    # What a condition speaks of is bound by none itself, so it is there before its dependants.
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


def recipe_train(config: StudyConfig, name: str, seed: int) -> TrainConfig:
    """One training run of the recipe `name`."""
    fixed = {key: one.value for key, one in config.train.items() if isinstance(one, Fixed)}
    return TrainConfig.model_validate({**fixed, **config.recipes[name].train, "seed": seed})


def start_parameters(config: StudyConfig) -> list[dict[str, Value]]:
    """The recipes of `start_from` for `optuna.Study.enqueue_trial`: searched parameters only."""
    searched = {key for key, value in config.train.items() if not isinstance(value, Fixed)}
    recipes = [{k: v for k, v in start.items() if k in searched} for start in config.start_from]
    return [recipe for recipe in recipes if recipe]


def space_hash(config: StudyConfig) -> str:
    """SHA-256 in hex over all that changes what a result means.

    That is everything but the study's name, the numbers of trials and of those to confirm, which
    may grow, and how many go on at a rung. The contents of the data folders are not in it:
    `TrainingSet.sha256` stands for those.
    """
    plain = plain_values(config)
    del plain["study"]
    for key in ("trials", "keep", "keep_from", "confirm"):
        del plain["budget"][key]
    # What is told beside the suite chooses nothing: more of it may be asked for at any time.
    del plain["also_sample_on"], plain["suite"]["also_at"], plain["suite"]["also_with_alias"]
    del plain["sampler"]  # which trials there are, and not what one of them means
    if plain["budget"]["low_rung_seeds"] is None:  # younger than the first studies, as is
        del plain["budget"]["low_rung_seeds"]
    for key in ("copy_model", "sex_threshold"):
        if plain["judges"][key] is None:
            del plain["judges"][key]
    if plain["regularisation"] is None:
        del plain["regularisation"]
    plain.pop("training_seeds", None)  # how many runs there are, and what is asked of them
    plain.pop("hypotheses", None)
    for name in _YOUNGER:
        if plain["train"].get(name) == TrainConfig.model_fields[name].default:
            plain["train"].pop(name, None)
    text = json.dumps(plain, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _option_trees(
    base: str | None, data: str | None, trials: int | None, seed: int | None
) -> list[Tree]:
    trees = []
    if base is not None:
        trees.append(Tree({"base": model_path(base, Path())}, {("base",): "--base"}))
    if data is not None:
        trees.append(Tree({"data": data_word(data, Path())}, {("data",): "--data"}))
    if trials is not None:
        trees.append(Tree({"budget": {"trials": trials}}, {("budget", "trials"): "--trials"}))
    if seed is not None:
        trees.append(Tree({"seed": seed}, {("seed",): "--seed"}))
    return trees


def _drop_set_starts(tree: Tree, settings: Sequence[Tree]) -> None:
    """Takes parameters that `--set` names out of the recipes: the user decided otherwise."""
    named: set[str] = set()
    for setting in settings:
        train = setting.values.get("train")
        named |= set(train) if isinstance(train, Mapping) else set()
    starts = tree.values.get("start_from")
    if not named or not isinstance(starts, list):
        return
    tree.values["start_from"] = [
        {k: v for k, v in start.items() if k not in named} if isinstance(start, dict) else start
        for start in starts
    ]


def _fill_defaults(tree: Tree) -> None:
    """The sizes that a file leaves out are the base's own."""
    base = tree.values.get("base")
    native = native_size(base) if isinstance(base, str) else None
    for section, key in (("train", "resolution"), ("suite", "size")):
        values = {} if tree.values.get(section) is None else tree.values[section]
        tree.values[section] = values
        if native is not None and isinstance(values, dict):
            values.setdefault(key, native)


def _build(tree: Tree) -> tuple[StudyConfig | None, list[Problem]]:
    values = dict(tree.values)
    train, problems = read_train(values.pop("train"), values.get("data"))
    starts, start_problems = read_starts(values.pop("start_from", None), train)
    recipes, hypotheses, recipe_problems = read_recipe_keys(values, train, starts)
    problems += recipe_problems
    values["suite"], suite_problems = read_prompts(values["suite"])
    values["constraints"], unknown_rates = read_constraints(values.get("constraints"))
    problems += start_problems + suite_problems + unknown_rates
    problems += check_model(StudyConfig, values)
    budget = values.get("budget")
    trials = budget.get("trials", 12) if isinstance(budget, Mapping) else None
    problems += grid_problems(values.get("sampler"), train, trials, len(starts))
    problems += prior_problems(values.get("regularisation"), with_recipes(train, recipes))
    problems += size_problems(values.get("base"), train, values["suite"])
    problems += other_base_problems(values.get("also_sample_on"), values["suite"])
    problems += seed_problems(values.get("budget"), values["suite"])
    if problems or tree.problems:
        return None, problems
    values |= {"train": train, "start_from": starts, "recipes": recipes, "hypotheses": hypotheses}
    return StudyConfig.model_validate(values), []
