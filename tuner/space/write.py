"""Write a study as a search-space file, from which `tuner.space.load` reads an equal study."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import yaml

from tuner.space.config import StudyConfig
from tuner.space.file import plain_scalar
from tuner.space.parameters import Choices, Fixed, FloatRange, IntRange, Parameter
from tuner.space.paths import by_content
from tuner.space.train_config import TrainConfig


def to_yaml(config: StudyConfig) -> str:
    """Return the study as a search-space file; `load_study` reads an equal study from it."""
    return yaml.dump(
        plain_values(config),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )


_CHANGES_NO_RESULT = {
    "": {
        *("study", "also_sample_on", "sampler", "compile", "training_seeds", "hypotheses"),
        "storage",
    },
    "budget": {
        *("trials", "keep", "keep_from", "hours", "gpu_hours"),
        *("confirm", "confirm_samples", "confirm_repeats"),
    },
    "suite": {"also_at", "also_with_alias"},
    "judges": set(),
}
"""Keys by section that may change between runs of a study: they set the number of trials, which
trials go on, what is reported in addition, and how fast the same is computed."""


def space_hash(config: StudyConfig) -> str:
    """Return the SHA-256, in hex, of all settings that change what a result means.

    `train.seed` always counts if it is set, because without it each trial has a seed of its own.
    Other settings are left out if they have their default, so that a later version with more
    settings gives the same hash. A model on the disk counts by its content, wherever it lies; the
    data folders do not count here: `TrainingSet.sha256` covers their content.
    """
    text = json.dumps(_meaning(config), sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(first: StudyConfig, other: StudyConfig) -> list[str]:
    """Return the names of the settings that give two studies different hashes."""
    left, right = _meaning(first), _meaning(other)
    return [
        f"{section}.{name}".lstrip(".")
        for section in left
        for name in sorted({*left[section], *right[section]})
        if left[section].get(name) != right[section].get(name)
    ]


def _meaning(config: StudyConfig) -> dict[str, dict[str, Any]]:
    """Return all settings that change what a result means, by section and name."""
    sections = {"": config, "budget": config.budget, "suite": config.suite, "judges": config.judges}
    plain: dict[str, dict[str, Any]] = {}
    for name, section in sections.items():
        left_out = _CHANGES_NO_RESULT[name] | ({"train", *sections} if section is config else set())
        plain[name] = section.model_dump(mode="json", exclude_defaults=True, exclude=left_out)
    paths: dict[str, Any] = {**plain[""], "judges": plain["judges"]}
    by_content(paths)
    plain["judges"] = paths.pop("judges")
    plain[""] = paths
    defaults = {name: field.default for name, field in TrainConfig.model_fields.items()}
    plain["train"] = {
        name: _plain_parameter(parameter)
        for name, parameter in config.train.items()
        if name == "seed" or parameter != Fixed(defaults[name])
    }
    return plain


class _Dumper(yaml.SafeDumper):
    """YAML dumper that quotes text which this grammar would read as another value."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(plain_scalar(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)


def plain_values(config: StudyConfig) -> dict[str, Any]:
    """Return the study as plain values in the order of a search-space file."""
    plain = config.model_dump(
        mode="json", exclude={"train", "start_from", "recipes", "training_seeds", "hypotheses"}
    )
    plain["train"] = {name: _plain_parameter(each) for name, each in config.train.items()}
    plain["start_from"] = [dict(start) for start in config.start_from]
    first = ("study", "base", "base_prediction", "also_sample_on", "data", "regularisation")
    then = (
        "budget",
        "objectives",
        "constraints",
        "suite",
        "train",
        "start_from",
        "sampler",
        "seed",
        "compile",
        "judges",
        "storage",
    )
    judged = {} if config.judged is None else {"judged": plain["judged"]}
    return {key: plain[key] for key in (*first, *then)} | _plain_recipes(config) | judged


def _plain_recipes(config: StudyConfig) -> dict[str, Any]:
    """Return the keys that only a study of recipes has."""
    if not config.recipes:
        return {}
    recipes = {
        name: {
            **each.train,
            **each.model_dump(mode="json", exclude={"train"}, exclude_defaults=True),
        }
        for name, each in config.recipes.items()
    }
    hypotheses = [
        hypothesis.model_dump(mode="json", exclude_defaults=True)
        for hypothesis in config.hypotheses
    ]
    seeds = list(config.training_seeds)
    return {"recipes": recipes, "training_seeds": seeds, "hypotheses": hypotheses}


def _plain_parameter(parameter: Parameter) -> object:
    match parameter:
        case Fixed(value):
            return value
        case Choices(choices):
            plain: dict[str, Any] = {"choices": list(choices)}
        case FloatRange(low, high, log, None):
            plain = {"low": low, "high": high, "log": log}
        case FloatRange(low, high, log, step) | IntRange(low, high, log, step):
            plain = {"low": low, "high": high, "log": log, "step": step}
    if not isinstance(parameter, Choices) and parameter.prior is not None:
        plain["prior"] = {"centre": parameter.prior.centre, "width": parameter.prior.width}
    if parameter.when:
        plain["when"] = {name: list(values) for name, values in parameter.when}
    return plain
