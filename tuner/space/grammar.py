"""Read the parameters of a search space: `8`, `{choices: [4, 8]}`, `{low: 4, high: 8}`.

A range may add `log: true`, `step` or `prior: {centre, width}`; choices and ranges may add `when:
{parameter: value}`. TrainConfig alone knows which values are valid.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeGuard, get_args

from pydantic import ValidationError

from tuner.data.captions import LISTED, PolicyError
from tuner.space.parameters import (
    Choices,
    Fixed,
    FloatRange,
    IntRange,
    Parameter,
    Prior,
    Value,
    When,
    exceeds_numbers,
    on_grid,
)
from tuner.space.problems import KeyPath, Problem, known_words, not_allowed, unknown_key
from tuner.space.train_config import TrainConfig
from tuner.text import show

_PARAMETER_RULE = "a value, {choices: [...]}, or for numbers {low, high, log, step, prior}"
_OR_NULL = re.compile(r"null (\(.*?\) )?or ")
"""The part of a key's rule that no end of a range can be."""

_POLICIES = ("captions", "first_captions")
_RANGE_KEYS: tuple[str, ...] = ("choices", "low", "high", "log", "step", "prior", "when")


def read_parameter(name: str, raw: object, path: KeyPath) -> tuple[Parameter | None, list[Problem]]:
    """Return the parameter that `raw` means for the training key `name`, at `path` in the file."""
    if isinstance(raw, list):
        return None, [not_allowed(path, raw, f"{{choices: {show(raw)}}}")]
    if not isinstance(raw, Mapping) or _is_policy(name, raw):
        value, problem = read_value(name, raw, path)
        return (Fixed(value), []) if problem is None else (None, [problem])
    known = ("choices", "when") if "choices" in raw else _RANGE_KEYS
    known += LISTED if name in _POLICIES and "choices" not in raw else ()
    unknown = [unknown_key((*path, key), known) for key in raw if key not in known]
    if unknown:
        return None, unknown
    when, when_problems = _when(raw.get("when", {}), (*path, "when"))
    parameter: Parameter | None
    if "choices" in raw:
        parameter, problems = _choices(name, raw["choices"], (*path, "choices"))
    elif "low" in raw and "high" in raw:
        parameter, problems = _range(name, raw, path)
    elif "low" in raw or "high" in raw:
        missing = "high" if "low" in raw else "low"
        rule = f"{{low, high, ...}}; key '{missing}' is missing"
        parameter, problems = None, [not_allowed(path, dict(raw), rule)]
    else:
        parameter, problems = None, [not_allowed(path, dict(raw), _PARAMETER_RULE)]
    problems += when_problems
    if parameter is None or isinstance(parameter, Fixed) or problems:
        return None, problems
    return replace(parameter, when=when), []


def _when(raw: object, path: KeyPath) -> tuple[When, list[Problem]]:
    """Return the conditions of `when:`; that those parameters exist is checked later."""
    if not isinstance(raw, Mapping):
        return (), [not_allowed(path, raw, "{parameter: value} or {parameter: [value, ...]}")]
    read: list[tuple[str, tuple[Value, ...]]] = []
    problems: list[Problem] = []
    for name, values in raw.items():
        if name not in TrainConfig.model_fields:
            problems.append(unknown_key((*path, name), TrainConfig.model_fields))
            continue
        wanted = values if isinstance(values, list) else [values]
        if not wanted:
            problems.append(not_allowed((*path, name), values, "a list of at least one value"))
        values_read = [read_value(name, value, (*path, name)) for value in wanted]
        problems += [problem for _, problem in values_read if problem is not None]
        read.append((name, tuple(value for value, _ in values_read)))
    return tuple(read), problems


def _choices(name: str, raw: object, path: KeyPath) -> tuple[Parameter | None, list[Problem]]:
    if not isinstance(raw, list) or not raw:
        return None, [not_allowed(path, raw, "a list of at least one value")]
    read: dict[tuple[type, Value], Value] = {}  # 1, 1.0 and true are three values
    problems: list[Problem] = []
    for index, each in enumerate(raw):
        value, problem = read_value(name, each, (*path, index))
        if problem is not None:
            problems.append(problem)
        elif (type(value), value) in read:
            problems.append(not_allowed((*path, index), each, "each value once"))
        else:
            read[type(value), value] = value
    return (None, problems) if problems else (Choices(tuple(read.values())), [])


def _range(
    name: str, raw: Mapping[str, object], path: KeyPath
) -> tuple[Parameter | None, list[Problem]]:
    annotation = TrainConfig.model_fields[name].annotation
    kinds = get_args(annotation) or (annotation,)
    kind = float if float in kinds else int if int in kinds else None
    if kind is None:
        return None, [not_allowed(path, dict(raw), "a value or {choices: [...]}: it has no order")]
    ends, problems = _ends(name, kind, raw, path)
    log, step = raw.get("log", False), raw.get("step")
    if not isinstance(log, bool):
        problems.append(not_allowed((*path, "log"), log, "true, false"))
    if step is not None and (isinstance(step, bool) or not isinstance(step, int | kind)):
        rule = "a whole number" if kind is int else "a number"
        problems.append(not_allowed((*path, "step"), step, rule))
    if problems:
        return None, problems
    spacing = float(step) if isinstance(step, int | float) else None
    wanted = FloatRange(ends[0], ends[1], bool(log), spacing)
    prior, problems = _prior(raw.get("prior"), wanted, (*path, "prior"))
    if problems:
        return None, problems
    return _checked_range(name, replace(wanted, prior=prior), kind, path)


def _prior(raw: object, of: FloatRange, path: KeyPath) -> tuple[Prior | None, list[Problem]]:
    """Return the `prior:` of a range."""
    if raw is None:
        return None, []
    rule = "{centre: a number of the range, width: a number above 0"
    rule += ", as a factor above 1}" if of.log else "}"
    keys = ("centre", "width")
    if not isinstance(raw, Mapping) or set(raw) != set(keys):
        return None, [not_allowed(path, raw, rule)]
    numbers = [raw[key] for key in keys]
    if not all(_is_number(number) for number in numbers):
        return None, [not_allowed(path, dict(raw), rule)]
    centre, width = (float(number) for number in numbers)
    least = 1.0 if of.log else 0.0
    if not of.low <= centre <= of.high or not least < width < math.inf:
        return None, [not_allowed(path, dict(raw), rule)]
    return Prior(centre, width), []


def _ends(
    name: str, kind: type[int] | type[float], raw: Mapping[str, object], path: KeyPath
) -> tuple[list[float], list[Problem]]:
    ends: list[float] = []
    problems: list[Problem] = []
    for key in ("low", "high"):
        value, problem = read_value(name, raw[key], (*path, key))
        if problem is None and isinstance(value, kind):
            ends.append(value)
        else:
            rule = re.sub(_OR_NULL, "", str(TrainConfig.model_fields[name].description))
            wrong = raw[key]
            if key == "high" and ends and _is_number(wrong) and wrong <= ends[0]:
                rule += f", above low, which is {show(ends[0])}"
            problems.append(not_allowed((*path, key), wrong, rule))
    return ends, problems


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _checked_range(
    name: str, wanted: FloatRange, kind: type[int] | type[float], path: KeyPath
) -> tuple[Parameter | None, list[Problem]]:
    low, high, log, step = wanted.low, wanted.high, wanted.log, wanted.step
    if low >= high:
        hint = "swap the two" if low > high else f"for one value write {name}: {show(low)}"
        below = f"less than high, which is {show(high)}; {hint}"
        return None, [not_allowed((*path, "low"), low, below)]
    if log and low <= 0:
        return None, [not_allowed((*path, "low"), low, "more than 0 where log is true")]
    if rule := _step_rule(name, wanted, kind):
        written = step if step is None or step % 1 else int(step)
        return None, [not_allowed((*path, "step"), written, rule)]
    read: FloatRange | IntRange = replace(wanted, low=float(low), high=float(high))
    if kind is int:
        read = IntRange(int(low), int(high), log, int(step or 1), wanted.prior)
    if exceeds := exceeds_numbers(read):
        return None, [not_allowed((*path, "high"), high, exceeds)]
    return read, []


def _step_rule(name: str, wanted: FloatRange, kind: type[int] | type[float]) -> str | None:
    """Return the rule that a step breaks, else None; Optuna would change the range silently."""
    span, step = wanted.high - wanted.low, wanted.step
    if name == "resolution" and (step is None or step % 8):
        return "a multiple of 8"
    if step is None or (kind is int and step == 1):
        return None
    if wanted.log:
        return "no step where log is true"
    if not 0 < step <= span or not on_grid(span, step):
        return f"a divisor of high - low = {span:g}"
    return None


def read_value(name: str, value: object, path: KeyPath) -> tuple[Value, Problem | None]:
    """Return the value as TrainConfig takes it; a whole number becomes a real one if needed."""
    field = TrainConfig.model_fields[name]
    if isinstance(value, Mapping | list) and not _is_policy(name, value):
        return None, not_allowed(path, value, str(field.description))
    try:
        read: Value = getattr(TrainConfig.model_validate({name: value}), name)
    except ValidationError as error:
        rule = f"{field.description}{_reason(error)}"
        return None, not_allowed(path, value, rule, known_words(field))
    return read, None


def _reason(error: ValidationError) -> str:
    """Return why a caption policy was refused, where the rule does not say it, else empty text."""
    cause = error.errors(include_url=False)[0].get("ctx", {}).get("error")
    return f"; {cause}" if isinstance(cause, PolicyError) else ""


def _is_policy(name: str, raw: object) -> bool:
    """Return True for the one kind of value that has keys: `{keep: [...]}`, `{drop: [...]}`."""
    return name in _POLICIES and isinstance(raw, Mapping) and any(key in raw for key in LISTED)
