"""What is wrong with a configuration: where, what was found, what is allowed, what was meant.

Problems are collected, so that a user mends a file once and not once for each error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tuner.text import show

Path = tuple[str | int, ...]
"""Keys and list indices from the top of a file to a value."""


_READ_BEFORE = (("extends",), ())
"""Keys at the top of a file that are no part of the study, and such keys further down."""


@dataclass(frozen=True)
class Problem:
    """One thing to mend: the key path in the file and the sentence about it."""

    path: Path
    text: str


def dotted(path: Path) -> str:
    """A key path as the command line writes it: `train.rank`, `budget.rungs[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


_MANY = 12


def unknown_key(path: Path, known: Iterable[str]) -> Problem:
    """The last key of `path` is none of `known`; the nearest one is offered.

    Where there is one, a list of many others would only hide it.
    """
    names = list(known)
    near = difflib.get_close_matches(str(path[-1]), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    listed = "" if near and len(names) > _MANY else f" (known: {', '.join(names)})"
    return Problem(path, f"unknown key{hint}{listed}")


def not_allowed(path: Path, found: object, allowed: str) -> Problem:
    """A value of the wrong kind or out of bounds."""
    return Problem(path, f"found {show(found)}, allowed: {allowed}")


def check_model(model: type[BaseModel], data: object, path: Path = ()) -> list[Problem]:
    """Everything that `model` refuses in `data`; `path` is where `data` stands in the file.

    The text of what is allowed is the description of the model's field, which is why every field
    of the configuration has one.
    """
    try:
        model.model_validate(data)
    except ValidationError as error:
        found = [_problem(model, detail, path) for detail in error.errors(include_url=False)]
        return list(dict.fromkeys(found))  # a union tells each of its branches
    return []


def _problem(model: type[BaseModel], detail: ErrorDetails, prefix: Path) -> Problem:
    location, allowed, owner = _walk(model, detail["loc"])
    path = prefix + location
    if detail["type"] == "extra_forbidden":
        return unknown_key(path, [*owner.model_fields, *_READ_BEFORE[len(path) > 1]])
    if detail["type"] == "missing":
        return Problem(path[:-1], f"key '{path[-1]}' is missing; allowed: {allowed}")
    if detail["type"] == "value_error" and allowed is None:
        return Problem(path, str(detail["ctx"]["error"]))
    return not_allowed(path, detail["input"], allowed or "keys and their values")


def _walk(model: type[BaseModel], loc: Path) -> tuple[Path, str | None, type[BaseModel]]:
    """The part of pydantic's location that the file has, the field's description, its model.

    Pydantic adds the branch of a union or `[key]` behind the names that the file has.
    """
    path: Path = ()
    owner = model
    for depth, part in enumerate(loc):
        path = (*path, part)
        field = owner.model_fields.get(str(part))
        if field is None:
            return path, None, owner
        kind: Any = field.annotation
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            deeper = loc[depth + 1 : depth + 2]
            return (
                path + (deeper if deeper and isinstance(deeper[0], int) else ()),
                (field.description),
                owner,
            )
        owner = kind
    return path, None, owner
