"""Read `recipes:`, `training_seeds:` and `hypotheses:` of a search space.

As in tuner.space.rules, each function returns what it read and the problems it found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuner.space.config import BudgetConfig, rung_steps
from tuner.space.grammar import read_value
from tuner.space.parameters import Choices, Fixed, Parameter, Value, extremes
from tuner.space.problems import KeyPath, Problem, check_model, not_allowed, unknown_key
from tuner.space.recipes import BASE, Hypothesis, Recipe, count_runs
from tuner.space.sizes import size_problem
from tuner.space.train_config import NAME, NAME_RULE, TrainConfig
from tuner.text import one_line

_OWN = ("suite", "training_seeds")
_KEYS = (*(name for name in TrainConfig.model_fields if name != "seed"), *_OWN)

Recipes = dict[str, Recipe]


def read_recipe_keys(
    values: dict[str, object], train: Mapping[str, Parameter], starts: object
) -> tuple[Recipes, tuple[Hypothesis, ...], list[Problem]]:
    """Return the recipes and hypotheses of a space, and their problems.

    They are taken out of its `values`. If `budget.trials` is missing, it becomes the number of
    runs.
    """
    raw, claims = values.pop("recipes", None), values.pop("hypotheses", None)
    recipes, problems = read_recipes(raw, train, values.get("data"), values.get("base"))
    budget = values.get("budget")
    hypotheses, claim_problems = read_hypotheses(claims, recipes, train, budget)
    problems += claim_problems
    if raw is not None and starts:
        text = "is for searches; a study of recipes has all of them in recipes"
        problems.append(Problem(("start_from",), text))
    if raw is not None:
        problems += _beside_problems(values)
    if raw is not None and isinstance(budget, Mapping) and budget.get("confirm"):
        problems.append(Problem(("budget", "confirm"), "a study of recipes has no winner"))
    if (raw is not None) != ("training_seeds" in values):
        text = "recipes and training_seeds (such as 5) go together: one of them is missing"
        problems.append(Problem(("training_seeds",), text))
    elif raw is not None:
        values["budget"], trial_problems = _with_trials(recipes, values["training_seeds"], budget)
        problems += trial_problems
    return recipes, hypotheses, problems


def _beside_problems(values: Mapping[str, object]) -> list[Problem]:
    """Return problems: extra samples of a search, for which a study of recipes has recipes."""
    suite = values.get("suite")
    own = suite if isinstance(suite, Mapping) else {}
    paths: list[KeyPath] = [
        ("suite", key) for key in ("also_at", "also_with_alias") if own.get(key)
    ]
    paths += [("also_sample_on",)] if values.get("also_sample_on") else []
    text = "is for searches; give a recipe a suite of its own, such as {suite: {size: 96}}"
    return [Problem(path, text) for path in paths]


def with_recipes(
    train: Mapping[str, Parameter], recipes: Mapping[str, Recipe]
) -> dict[str, Parameter]:
    """Return `train`, where each key may also take the values that recipes give it."""
    own: dict[str, list[Value]] = {}
    for recipe in recipes.values():
        for name, value in recipe.train.items():
            own.setdefault(name, []).append(value)
    widened = {
        name: Choices(tuple(dict.fromkeys([*extremes(train[name]), *values])))
        for name, values in own.items()
        if name in train
    }
    return {**train, **widened}


def read_recipes(
    raw: object, train: Mapping[str, Parameter], data: object, base: object
) -> tuple[Recipes, list[Problem]]:
    """Return the recipes of `recipes:`; a study that has some must not search anything."""
    if raw is None:
        return {}, []
    if not isinstance(raw, Mapping) or not raw:
        return {}, [not_allowed(("recipes",), raw, "{name: {training key: value, ...}, ...}")]
    read: Recipes = {}
    problems = [
        Problem(("train", name), "a study of recipes searches nothing; give it one value")
        for name, parameter in train.items()
        if not isinstance(parameter, Fixed)
    ]
    for name, entry in raw.items():
        path: KeyPath = ("recipes", name)
        if not NAME.fullmatch(name) or name == BASE:
            problems.append(not_allowed(path, name, f"{NAME_RULE}; not {BASE}"))
        elif not isinstance(entry, Mapping):
            problems.append(not_allowed(path, entry, "{training key: value, ...}"))
        else:
            recipe, entry_problems = _recipe(entry, data, base, path)
            problems += entry_problems
            if recipe is not None:
                read[name] = recipe
    return read, problems


def _recipe(
    entry: Mapping[str, object], data: object, base: object, path: KeyPath
) -> tuple[Recipe | None, list[Problem]]:
    train: dict[str, Value] = {}
    problems: list[Problem] = []
    for key, value in entry.items():
        where = (*path, key)
        if key not in _KEYS:
            problems.append(unknown_key(where, _KEYS))
        elif key not in _OWN:
            train[key], problem = read_value(key, value, where)
            problems += [] if problem is None else [problem]
    names = list(data) if isinstance(data, Mapping) else []
    if "data" in train and train["data"] not in names:
        rule = f"one of the names in data ({one_line(', '.join(names)) or 'one folder'})"
        problems.append(not_allowed((*path, "data"), train["data"], rule, names))
    rest = {key: entry[key] for key in _OWN if key in entry}
    problems += check_model(Recipe, rest, path)
    if isinstance(base, str):
        sizes = [((*path, "resolution"), train.get("resolution"))]
        if isinstance(suite := entry.get("suite"), Mapping):
            sizes.append(((*path, "suite", "size"), suite.get("size")))
        unfit = (size_problem(where, size, base) for where, size in sizes if size is not None)
        problems += [problem for problem in unfit if problem is not None]
    return (None if problems else Recipe.model_validate({"train": train, **rest})), problems


def read_hypotheses(
    raw: object, recipes: Mapping[str, Recipe], fixed: Mapping[str, Parameter], budget: object
) -> tuple[tuple[Hypothesis, ...], list[Problem]]:
    """Return the hypotheses of `hypotheses:`; each must name existing recipes."""
    if raw is None:
        return (), []
    if not isinstance(raw, list):
        return (), [not_allowed(("hypotheses",), raw, "a list of hypotheses")]
    read: list[Hypothesis] = []
    problems: list[Problem] = []
    for index, entry in enumerate(raw):
        path: KeyPath = ("hypotheses", index)
        if not isinstance(entry, Mapping):
            problems.append(not_allowed(path, entry, "{number, claim, arm, against, ...}"))
        elif entry_problems := check_model(Hypothesis, entry, path):
            problems += entry_problems
        else:
            hypothesis = Hypothesis.model_validate(entry)
            read.append(hypothesis)
            for key, text in (("arm", hypothesis.arm), ("against", hypothesis.against)):
                problems += _arm_problems((*path, key), text, recipes, fixed, budget)
    return tuple(read), problems


def _arm_problems(
    path: KeyPath,
    text: str,
    recipes: Mapping[str, Recipe],
    fixed: Mapping[str, Parameter],
    budget: object,
) -> list[Problem]:
    name, _, step = text.partition("@")
    if text == BASE and path[-1] == "against":
        return []
    if name not in recipes:
        return [not_allowed(path, text, "the name of one of recipes, or NAME@STEP", recipes)]
    steps = _steps(recipes[name], fixed, budget)
    if "@" not in text or not steps or step in map(str, steps):
        return []
    rungs = one_line(", ".join(map(str, steps)))
    return [not_allowed(path, text, f"{name} or one of its rungs: {rungs}")]


def _steps(recipe: Recipe, fixed: Mapping[str, Parameter], budget: object) -> Sequence[int]:
    if check_model(BudgetConfig, budget):
        return ()  # reported as a problem of the budget
    whole = fixed.get("steps")
    steps = recipe.train.get("steps", whole.value if isinstance(whole, Fixed) else None)
    train = TrainConfig.model_validate({"steps": steps})
    return rung_steps(train, BudgetConfig.model_validate(budget))


def _with_trials(
    recipes: Mapping[str, Recipe], seeds: object, budget: object
) -> tuple[object, list[Problem]]:
    listed = list(range(seeds)) if type(seeds) is int and 0 < seeds <= 1000 else seeds
    if not recipes or not isinstance(budget, Mapping) or not isinstance(listed, Sequence):
        return budget, []
    count = count_runs(recipes, sorted(seed for seed in listed if type(seed) is int))
    trials = budget.get("trials", count)
    if isinstance(trials, int) and trials > count:
        rule = f"at most {count}, each recipe with each of its training seeds"
        return budget, [not_allowed(("budget", "trials"), trials, rule)]
    return {**budget, "trials": trials}, []
