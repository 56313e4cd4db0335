"""Read a search-space file into a checked study, and a recipe into one training run.

All problems of a file are reported together, before any model is loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from tuner.errors import ConfigError, MissingModelError, TunerError
from tuner.space.base_name import parse_base
from tuner.space.config import BudgetConfig, JudgeConfig, StudyConfig
from tuner.space.file import Tree, assignment, load_tree, overlay
from tuner.space.parameters import Fixed
from tuner.space.paths import data_path as data_word, find_again, model_path
from tuner.space.problems import KeyPath, Problem, check_model
from tuner.space.recipe_rules import read_recipe_keys, with_recipes
from tuner.space.rules import (
    prior_problems,
    read_constraints,
    read_prompts,
    read_starts,
    read_train,
    sampler_problems,
    seed_problems,
)
from tuner.space.server import read_storage
from tuner.space.sizes import native_size, other_base_problems, size_problems
from tuner.space.suite import SuiteConfig
from tuner.space.train_config import TrainConfig
from tuner.storage import StudyFolder
from tuner.text import counted, readable, show

_MOST_LINES = 50

_SECTIONS: dict[str, type[BaseModel]] = {
    "budget": BudgetConfig,
    "suite": SuiteConfig,
    "train": TrainConfig,
    "judges": JudgeConfig,
}
_TOP = ("extends", *StudyConfig.model_fields)


def load_study(
    path: str | Path,
    *,
    base: str | None = None,
    data: str | None = None,
    trials: int | None = None,
    seed: int | None = None,
    set_values: Sequence[str] = (),
) -> StudyConfig:
    """Return the study of a search-space file, with the overrides of the command line.

    `base`, `data`, `trials` and `seed` are the options of these names; paths in them and in
    `set_values` (`train.rank=8`, later ones win) start at the current folder, paths in the file
    at the file's folder. A parameter in `set_values` is dropped from `start_from`. Paths in the
    study.yaml of a study that was moved with its project are looked for beside it.

    Raises ConfigError with one line for each problem.
    """
    options = _option_trees(base, data, trials, seed)
    tree = load_tree(Path(path))
    folder = StudyFolder(Path(path).parent)
    if Path(path).name == folder.study_yaml.name and folder.exists():
        find_again(tree.values, folder.root)
    config = _load(tree, options, [assignment(text) for text in set_values])
    if config.judged is not None:
        raise ConfigError(
            f"{path} is of a study of existing files, which trains nothing; `tuner judge` with the "
            "same files goes on with it"
        )
    return config


def load_values(values: Mapping[str, object], origins: Mapping[KeyPath, str]) -> StudyConfig:
    """Return the study of plain values; `origins` has their places by key path, for ConfigError."""
    return _load(Tree(dict(values), dict(origins)), [], [])


def load_recorded(
    folder: StudyFolder,
    *,
    base: str | None = None,
    data: Sequence[str] = (),
    needs: Sequence[Literal["base", "data"]] = (),
) -> StudyConfig:
    """Return the study that `folder` records in study.yaml, also after its project was moved.

    A base, pictures or judges' models that are no longer at their recorded place are looked for
    beside the study (`tuner.space.paths.find_again`). `base` and `data` name them: `FOLDER`, or
    `NAME=FOLDER` for a study of several data folders.

    Raises ConfigError if study.yaml is missing or cannot be read, for a wrong NAME, and for
    pictures that were not found, MissingModelError for a base that was not, if `needs` has them.
    """
    if not folder.study_yaml.is_file():
        raise ConfigError(
            f"{folder.study_yaml} is not there; `tuner run` with the study's search space writes "
            "it again"
        )
    tree = load_tree(folder.study_yaml)
    find_again(tree.values, folder.root)
    named = _named_data(tree.values.get("data"), data)
    options = _option_trees(base, None, None, None)
    config = _load(tree, [*options, Tree({"data": named}, {("data",): "--data"})], [])
    if "base" in needs:
        _require_base(config, folder)
    if "data" in needs:
        _require_data(config, folder)
    return config


def _named_data(recorded: object, texts: Sequence[str]) -> object:
    """Return the data folders of a study with those that `--data` names in their place."""
    if not isinstance(recorded, Mapping):
        return data_word(texts[-1], Path()) if texts else recorded
    named = dict(recorded)
    for text in texts:
        name, equals, place = text.partition("=")
        if not equals or name not in named:
            known = ", ".join(map(str, named))
            raise ConfigError(f"--data {text}: allowed: NAME=FOLDER with a NAME of {known}")
        named[name] = data_word(place, Path())
    return named


_GONE = "is no longer there and was not found beside the study"


def _require_base(config: StudyConfig, folder: StudyFolder) -> None:
    if _is_gone(config.base):
        raise MissingModelError(
            f"{folder.root}: its base {config.base} {_GONE}; name its place with --base"
        )


def _require_data(config: StudyConfig, folder: StudyFolder) -> None:
    """Check the pictures, and the judges' models, which are needed where the pictures are."""
    for name, place in config.data_folders.items():
        if _is_gone(place):
            option = "--data FOLDER" if name is None else f"--data {name}=FOLDER"
            raise ConfigError(
                f"{folder.root}: its data folder {place} {_GONE}; name its place with {option}"
            )
    others = {"regularisation": config.regularisation} | config.judges.model_dump()
    for key, value in others.items():
        if isinstance(value, str) and _is_gone(value):
            raise MissingModelError(
                f"{folder.root}: {key} {value} {_GONE}; correct its place in {folder.study_yaml}"
            )


def _is_gone(text: str) -> bool:
    return os.path.isabs(text) and not os.path.exists(text)


def _load(tree: Tree, options: Sequence[Tree], settings: Sequence[Tree]) -> StudyConfig:
    for over in (*options, *settings):
        tree = overlay(tree, over)
    _drop_set_starts(tree, settings)
    _fill_defaults(tree)
    config, problems = _build(tree)
    problems += _name_problems(tree.values)
    if config is None or problems:
        lines = [*dict.fromkeys(tree.line(each) for each in (*tree.problems, *problems))]
        if len(lines) > _MOST_LINES:
            where = tree.origin(()) or "the search space"
            more = counted(len(lines) - _MOST_LINES, "more problem")
            lines[_MOST_LINES:] = [f"{where}: and {more}"]
        raise ConfigError("\n".join(lines))
    return config


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


def _name_problems(value: object, path: KeyPath = ()) -> list[Problem]:
    """Return a problem for each path with letters that are not UTF-8, which no database keeps."""
    if isinstance(value, str) and readable(value) != value:
        other = "" if sys.getfilesystemencoding() == "utf-8" else ", or set PYTHONUTF8=1"
        text = f"the name {show(value)} is not UTF-8, allowed: UTF-8; rename that folder{other}"
        return [Problem(path, text)]
    items: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return [problem for key, each in items for problem in _name_problems(each, (*path, key))]


def _drop_set_starts(tree: Tree, settings: Sequence[Tree]) -> None:
    """Remove parameters set with `--set` from the starting points: the user chose a value."""
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
    """Set sizes that the file leaves out to the native size of the base."""
    base = tree.values.get("base")
    native = native_size(base) if isinstance(base, str) else None
    for section, key in (("train", "resolution"), ("suite", "size")):
        values = {} if tree.values.get(section) is None else tree.values[section]
        tree.values[section] = values
        if native is not None and isinstance(values, dict):
            values.setdefault(key, native)


def _take_misplaced(values: dict[str, object]) -> list[Problem]:
    """Return problems: keys in a place where they mean nothing; they are taken out of `values`."""
    problems = []
    for key in [key for key in values if key not in StudyConfig.model_fields]:
        homes = [name for name, model in _SECTIONS.items() if key in model.model_fields]
        if homes:
            del values[key]
            problems.append(Problem((key,), f"unknown key here; it belongs in `{homes[0]}:`"))
    for name, model in _SECTIONS.items():
        if not isinstance(section := values.get(name), Mapping):
            continue
        wrong = [key for key in section if key not in model.model_fields and key in _TOP]
        text = "unknown key here; it belongs at the top of the file"
        problems += [Problem((name, key), text) for key in wrong]
        values[name] = {key: value for key, value in section.items() if key not in wrong}
    return problems


def _build(tree: Tree) -> tuple[StudyConfig | None, list[Problem]]:
    values = dict(tree.values)
    problems = _take_misplaced(values)
    train, train_problems = read_train(values.pop("train"), values.get("data"))
    problems += train_problems
    starts, start_problems = read_starts(values.pop("start_from", None), train)
    recipes, hypotheses, recipe_problems = read_recipe_keys(values, train, starts)
    problems += recipe_problems
    values["suite"], suite_problems = read_prompts(values["suite"])
    values["constraints"], unknown_rates = read_constraints(values.get("constraints"))
    values["storage"], storage_problems = read_storage(values.get("storage"))
    problems += start_problems + suite_problems + unknown_rates + storage_problems
    problems += check_model(StudyConfig, values)
    budget = values.get("budget")
    trials = budget.get("trials", 12) if isinstance(budget, Mapping) else None
    problems += sampler_problems(values.get("sampler"), train, trials, len(starts))
    problems += prior_problems(values.get("regularisation"), with_recipes(train, recipes))
    problems += size_problems(_base_or_none(values.get("base")), train, values["suite"])
    others = values.get("also_sample_on")
    known = [_base_or_none(base) for base in others] if isinstance(others, list) else others
    problems += other_base_problems(known, values["suite"])
    problems += seed_problems(values.get("budget"), values["suite"])
    if problems or tree.problems:
        return None, problems
    values |= {"train": train, "start_from": starts, "recipes": recipes, "hypotheses": hypotheses}
    return StudyConfig.model_validate(values), []


def _base_or_none(base: object) -> object:
    """Return a base; None if there is none of this name, so that its size is unknown.

    What is wrong with the name is reported when the base is checked or loaded.
    """
    try:
        return base if isinstance(base, str) and parse_base(base) else None
    except TunerError:
        return None


def recipe_train(config: StudyConfig, name: str, seed: int) -> TrainConfig:
    """Return the training run of the recipe `name` with the training seed `seed`."""
    fixed = {key: each.value for key, each in config.train.items() if isinstance(each, Fixed)}
    return TrainConfig.model_validate({**fixed, **config.recipes[name].train, "seed": seed})
