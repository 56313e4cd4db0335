"""Values as JSON text that every program can read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np

from tuner.text import readable


def json_text(value: object, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return `value` as JSON: data classes as objects, arrays as lists, paths as text.

    Numbers that are not finite become null, because JSON has none. `indent` spaces for each level;
    None: all on one line. With `ascii_only` other letters are written as numbers.
    """
    if indent is None and not ascii_only and (text := _quickly(value)) is not None:
        return text
    return json.dumps(_plain(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


_QUICK = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def _quickly(value: object) -> str | None:
    """Return the JSON of a value that is plain already, None if it is not.

    Each score of each sample has such a value; looking at all its parts takes ten times as long.
    """
    if not isinstance(value, dict):
        return None
    try:
        text = _QUICK.encode(value)
        text.encode()
    except (TypeError, ValueError):  # a data class, an array, not finite, or not UTF-8
        return None
    return text


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {readable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return readable(str(value)) if isinstance(value, str | Path) else value
