"""Problems of a configuration: where, what was found, what is allowed, what was probably meant.

All problems are collected, so that a user can correct all errors of a file in one go.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tuner.text import one_line, show

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of a file to a value."""

_READ_BEFORE = (("extends",), ())
"""Keys of a file that are not part of the study: at the top, and further down."""


@dataclass(frozen=True)
class Problem:
    """One thing to correct: the key path in the file and a sentence about it."""

    path: KeyPath
    text: str


def dotted(path: KeyPath) -> str:
    """Return a key path as the command line writes it: `train.rank`, `budget.rungs[1]`."""
    text = ""
    for part in path:
        name = part if isinstance(part, int) else one_line(part)
        text += f"[{name}]" if isinstance(part, int) else f".{name}" if text else str(name)
    return text


_MANY = 12
_LONGEST_WORD = 100

WORDS = "words"
"""Key in a field's `json_schema_extra`: words to propose where its type does not list them."""


def unknown_key(path: KeyPath, known: Iterable[str]) -> Problem:
    """Return the problem that the last key of `path` is none of `known`, with the nearest one.

    If there is a near one, a long list of the others is left out, as it would only hide it.
    """
    names = list(known)
    hint = _nearest(path[-1], names)
    listed = "" if hint and len(names) > _MANY else f" (known: {', '.join(names)})"
    return Problem(path, f"unknown key{hint}{listed}")


def not_allowed(
    path: KeyPath, value: object, allowed: str, known: Iterable[object] = ()
) -> Problem:
    """Return the problem of a value of the wrong kind or out of bounds.

    `known` are words that are allowed; the one that is nearest to a wrong word is proposed.
    """
    words = [word for word in known if isinstance(word, str)]
    wrong = [each for each in (value if isinstance(value, list) else [value]) if each not in words]
    hint = _nearest(wrong[0], words) if wrong else ""
    return Problem(path, f"found {show(value)}, allowed: {allowed}{hint}")


def _nearest(word: object, known: list[str]) -> str:
    """Return a question about the word of `known` that is most like `word`, or empty text."""
    text = word[:_LONGEST_WORD] if isinstance(word, str) else ""
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.5) if text else []
    return f"; did you mean '{near[0]}'?" if near and near[0] != text else ""


def known_words(field: FieldInfo) -> tuple[object, ...]:
    """Return the words that a field of a configuration may be, or that its list may have."""
    own = field.json_schema_extra
    if isinstance(own, dict) and isinstance(words := own.get(WORDS), list):
        return tuple(words)
    kinds = (field.annotation, *get_args(field.annotation))
    return tuple(word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind))


def check_model(model: type[BaseModel], data: object, path: KeyPath = ()) -> list[Problem]:
    """Return all problems that `model` finds in `data`; `path` is the place of `data` in the file.

    The text of what is allowed is the description of the model's field, so every field of the
    configuration has one.
    """
    try:
        model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems = [_problem(model, detail, data, path) for detail in details]
        return list(dict.fromkeys(problems))  # a union reports each of its branches
    return []


def _problem(
    model: type[BaseModel], detail: ErrorDetails, data: object, prefix: KeyPath
) -> Problem:
    location, field, owner = _walk(model, detail["loc"])
    path = prefix + location
    allowed = f"{{{', '.join(owner.model_fields)}}}" if field is None else str(field.description)
    if detail["type"] == "extra_forbidden":
        return unknown_key(path, [*owner.model_fields, *_READ_BEFORE[len(path) > 1]])
    if detail["type"] == "missing":
        return Problem(path[:-1], f"key '{path[-1]}' is missing; allowed: {allowed}")
    if detail["type"] == "value_error" and field is None:
        return Problem(path, str(detail["ctx"]["error"]))
    known = () if field is None else known_words(field)
    # A branch of a union may report a part of the value that has the problem.
    return not_allowed(path, _value(data, location, detail["input"]), allowed, known)


def _value(data: object, location: KeyPath, otherwise: object) -> object:
    """Return the value at `location` in `data`, or `otherwise` where there is none."""
    for part in location:
        try:
            data = data[part]  # type: ignore[index]
        except (TypeError, LookupError):
            return otherwise
    return data


def _walk(
    model: type[BaseModel], loc: KeyPath
) -> tuple[KeyPath, FieldInfo | None, type[BaseModel]]:
    """Return the part of pydantic's location that the file has, the field there, and its model.

    The field is None for a section, whose model is returned. Pydantic appends the branch of a union
    or `[key]` to the names that the file has.
    """
    path: KeyPath = ()
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
                field,
                owner,
            )
        owner = kind
    return path, None, owner
