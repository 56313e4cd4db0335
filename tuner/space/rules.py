"""Check the parts of a search space that need more than a type.

Each function returns what it read and the problems it found; what could not be read is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from metrics.contract import Prompt
from tuner.data import forbidden_words
from tuner.space.config import RATES
from tuner.space.grammar import read_parameter, read_value
from tuner.space.parameters import (
    Choices,
    Fixed,
    Parameter,
    Value,
    contains,
    describe,
    extremes,
    grid_size,
    is_bound,
    same,
)
from tuner.space.problems import KeyPath, Problem, check_model, not_allowed, unknown_key
from tuner.space.suite import SuiteConfig, unknown_suite
from tuner.space.train_config import TrainConfig
from tuner.text import counted, one_line, show

Train = dict[str, Parameter]


MOST_FOR_GP = 1_000_000
"""Values of a range with steps in a study with `sampler: gp`: Optuna's makes a list of them."""

_PLACEHOLDER = (Prompt("1girl"),)
"""Prompts in place of wrong ones, so that the suite's other values are checked as well."""


class _PromptEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(min_length=1, max_length=2000, description="a prompt")
    sex: Literal["female", "male"] | None = Field(
        default=None, description="female, male, null if the prompt names neither"
    )
    framing: Literal["full", "half"] | None = Field(
        default=None, description="full, half, null if the prompt names neither"
    )
    names_clothes: bool = Field(default=False, description="true, false")


def read_train(raw: object, data: object) -> tuple[Train, list[Problem]]:
    """Return the parameters of `train:` in the order of TrainConfig, with defaults, without `seed`.

    `data` is the study's: if it names several folders, `train.data` must name one of them.
    """
    if not isinstance(raw, Mapping):
        return {}, [not_allowed(("train",), raw, "training keys and their values")]
    read: Train = {}
    problems: list[Problem] = []
    for name, value in raw.items():
        path: KeyPath = ("train", name)
        if name not in TrainConfig.model_fields:
            problems.append(unknown_key(path, TrainConfig.model_fields))
            continue
        parameter, parameter_problems = read_parameter(name, value, path)
        problems += parameter_problems
        if parameter is not None:
            read[name] = parameter
    problems += _data_problems(read, raw, data)
    problems += _when_problems(read)
    for name, field in TrainConfig.model_fields.items():
        if name not in raw and name not in read and name != "seed":
            read[name] = Fixed(field.default)
    return {name: read[name] for name in TrainConfig.model_fields if name in read}, problems


def read_starts(raw: object, train: Train) -> tuple[tuple[dict[str, Value], ...], list[Problem]]:
    """Return the starting points of `start_from`; each value is one that its parameter may take."""
    if raw is None:
        return (), []
    if not isinstance(raw, list):
        return (), [
            not_allowed(("start_from",), raw, "a list of starting points {parameter: value, ...}")
        ]
    starts: dict[frozenset[tuple[str, Value]], dict[str, Value]] = {}  # each once
    problems: list[Problem] = []
    for index, entry in enumerate(raw):
        path: KeyPath = ("start_from", index)
        if not isinstance(entry, Mapping):
            problems.append(not_allowed(path, entry, "a starting point {parameter: value, ...}"))
            continue
        start: dict[str, Value] = {}
        for name, value in entry.items():
            problems += _start_value(start, train, (*path, name), value)
        problems += _left_out(start, train, path)
        if start:
            starts.setdefault(frozenset(start.items()), start)
    return tuple(starts.values()), problems


def _left_out(start: dict[str, Value], train: Train, path: KeyPath) -> list[Problem]:
    """Return problems: values of a starting point whose `when` condition does not hold."""
    problems = []
    for name in start:
        parameter = train[name]
        for other, wanted in () if isinstance(parameter, Fixed) else parameter.when:
            if other in start and not any(same(start[other], value) for value in wanted):
                values = " or ".join(show(value) for value in wanted)
                text = f"is only used when {other} is {values}; take it out of this starting point"
                problems.append(Problem((*path, name), text))
    return problems


def read_prompts(suite: object) -> tuple[object, list[Problem]]:
    """Return the values of `suite:` with its prompts as Prompt; no prompt may name a child."""
    if not isinstance(suite, Mapping):
        return suite, []
    if (name := unknown_suite(suite)) is not None:
        return {**suite, "prompts": _PLACEHOLDER}, [Problem(("suite", "name"), name)]
    problems: list[Problem] = []
    if isinstance(words := suite.get("append"), str) and (named := forbidden_words(words)):
        problems.append(Problem(("suite", "append"), _names_a_child(named)))
        suite = {**suite, "append": ""}
    if not isinstance(entries := suite.get("prompts"), list):
        return suite, problems
    read = [_prompt(entry, ("suite", "prompts", place)) for place, entry in enumerate(entries)]
    problems += [problem for _, found in read for problem in found]
    prompts = tuple(prompt for prompt, _ in read if prompt is not None)
    return {**suite, "prompts": prompts if prompts or not problems else _PLACEHOLDER}, problems


def _prompt(entry: object, path: KeyPath) -> tuple[Prompt | None, list[Problem]]:
    """Return the prompt of an entry; None and the problems of one that is none or not allowed."""
    if not isinstance(entry, Mapping):
        return None, [not_allowed(path, entry, "{text, sex, framing, names_clothes}")]
    if problems := check_model(_PromptEntry, entry, path):
        return None, problems
    if named := forbidden_words(entry["text"]):
        return None, [Problem((*path, "text"), _names_a_child(named))]
    return Prompt(**_PromptEntry.model_validate(entry).model_dump()), []


def _names_a_child(words: Sequence[str]) -> str:
    return f"names a child or an age under 18 ({', '.join(words)}); allowed: adults"


def read_constraints(raw: object) -> tuple[object, list[Problem]]:
    """Return the limits of `constraints:`; null removes one that an extended file has set."""
    if raw is None:
        return {}, []
    if not isinstance(raw, Mapping):
        return raw, []
    problems = [unknown_key(("constraints", name), RATES) for name in raw if name not in RATES]
    limits: dict[str, float] = {}
    for name in RATES:
        limit = raw.get(name)
        if isinstance(limit, int | float) and not isinstance(limit, bool) and 0 <= limit <= 1:
            limits[name] = float(limit)
        elif limit is not None:
            rule = "a limit in [0, 1], or null for none"
            problems.append(not_allowed(("constraints", name), limit, rule))
    return limits, problems


def sampler_problems(sampler: object, train: Train, trials: object, starts: int) -> list[Problem]:
    """Return what prevents a sampler from working: a grid's points, a range that is too long."""
    if sampler == "gp":
        long = [name for name, of in train.items() if (grid_size(of) or 0) > MOST_FOR_GP]
        text = f"has too many values for the sampler gp, allowed: at most {MOST_FOR_GP}; use tpe"
        return [Problem(("train", name), text) for name in long]
    if sampler != "grid":
        return []
    problems, points = [], 1
    for name, parameter in train.items():
        if is_bound(parameter):
            problems.append(Problem(("train", name, "when"), "a grid has no conditions"))
        elif (size := grid_size(parameter)) is None:
            problems.append(Problem(("train", name), "a grid needs choices, or a range with step"))
        else:
            points *= size
    if not problems and isinstance(trials, int) and trials > points + starts:
        text = f"found {trials}, allowed: at most {points + starts}: "
        text += f"{counted(points, 'point')} of the grid and {counted(starts, 'starting point')}"
        problems.append(Problem(("budget", "trials"), text))
    return problems


def prior_problems(regularisation: object, train: Train) -> list[Problem]:
    """Return a problem: a prior weight without regularisation pictures, or the reverse."""
    weights = extremes(train["prior_weight"]) if "prior_weight" in train else (0.0,)
    weighted = any(isinstance(weight, int | float) and weight > 0 for weight in weights)
    if weighted and regularisation is None:
        text = "is above 0, but the study has no regularisation pictures; set regularisation: base"
        return [Problem(("train", "prior_weight"), f"{text}, originals, or a folder")]
    if not weighted and regularisation is not None:
        text = "is set, but no trial uses it; give train.prior_weight a value above 0, such as 1.0"
        return [Problem(("regularisation",), text)]
    return []


def seed_problems(budget: object, suite: object) -> list[Problem]:
    """Return a problem if the low rungs use more noise seeds than the suite has."""
    if not isinstance(budget, Mapping) or not isinstance(suite, Mapping):
        return []
    wanted = budget.get("low_rung_seeds")
    there = suite.get("seeds", SuiteConfig.model_fields["seeds"].default)
    if type(wanted) is not int or type(there) is not int or wanted <= there:
        return []
    rule = f"null (all) or a whole number from 1 to the suite's seeds, {there}"
    return [not_allowed(("budget", "low_rung_seeds"), wanted, rule)]


def _when_problems(read: Train) -> list[Problem]:
    """Return problems: conditions on parameters without choices, or with `when` themselves."""
    problems = []
    for name, parameter in read.items():
        for other, wanted in () if isinstance(parameter, Fixed) else parameter.when:
            path: KeyPath = ("train", name, "when", other)
            named = read.get(other)
            if not isinstance(named, Choices) or named.when:
                rule = f"a parameter with choices and no `when` of its own, which {other} is not"
                problems.append(Problem(path, f"found {other}, allowed: {rule}"))
                continue
            strange = [value for value in wanted if not contains(named, value)]
            problems += [not_allowed(path, value, describe(named)) for value in strange]
    return problems


def _data_problems(read: Train, raw: Mapping[str, object], data: object) -> list[Problem]:
    """Return problems of `train.data`, which is set if there is only one name."""
    path: KeyPath = ("train", "data")
    names = list(data) if isinstance(data, Mapping) else []
    rule = f"one of the names in data ({one_line(', '.join(names))})"
    if not names:
        given = raw.get("data") is not None
        text = "data is one folder, so there is nothing to choose; write data: {name: folder, ...}"
        return [Problem(path, text)] if given else []
    if "data" not in raw:
        if len(names) == 1:
            read["data"] = Fixed(names[0])
            return []
        return [Problem(("train",), f"key 'data' is missing; allowed: {rule}, or choices of them")]
    match read.get("data"):
        case Fixed(value):
            values: tuple[Value, ...] = (value,)
        case Choices(choices):
            values = choices
        case _:
            values = ()
    return [not_allowed(path, value, rule, names) for value in values if value not in names]


def _start_value(
    start: dict[str, Value], train: Train, path: KeyPath, value: object
) -> list[Problem]:
    name = str(path[-1])
    if name not in TrainConfig.model_fields:
        return [unknown_key(path, TrainConfig.model_fields)]
    if name not in train:
        return []  # `seed`, which differs in every trial, or reported as a problem of train
    checked, problem = read_value(name, value, path)
    if problem is None and contains(train[name], checked):
        start[name] = checked
        return []
    return [not_allowed(path, value, describe(train[name]), extremes(train[name]))]
