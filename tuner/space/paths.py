"""Make the paths in a search space absolute: they start at its file. Special words are kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tuner.errors import TunerError
from tuner.space.base_name import base_path, parse_base


def absolute_paths(values: dict[str, object], folder: Path) -> None:
    """Make the relative paths in the values of a file absolute, in place, from `folder`."""
    _absolute(
        values, {"base": model_path, "data": data_path, "regularisation": _prior_path}, folder
    )
    if isinstance(bases := values.get("also_sample_on"), list):
        values["also_sample_on"] = [
            model_path(base, folder) if isinstance(base, str) else base for base in bases
        ]
    if isinstance(data := values.get("data"), dict):
        values["data"] = _absolute({**data}, dict.fromkeys(data, data_path), folder)
    if isinstance(judges := values.get("judges"), dict):
        kinds = {"gender_model": model_path, "copy_model": model_path, "person_model": data_path}
        values["judges"] = _absolute({**judges}, kinds, folder)


def _absolute(
    values: dict[str, object], kinds: Mapping[str, Callable[[str, Path], str]], folder: Path
) -> dict[str, object]:
    for key, absolute in kinds.items():
        if isinstance(text := values.get(key), str):
            values[key] = absolute(text, folder)
    return values


def model_path(text: str, folder: Path) -> str:
    """Return a base or a judge's model as a word or as an absolute path.

    `mannequin`, OWNER/NAME and OWNER/NAME@REVISION stay as they are, unless there is such a path.
    Everything else is taken as a path from `folder`; if it is no base, loading it reports that.
    """
    try:
        is_word = text == "" or parse_base(text, folder).path is None
    except TunerError:
        is_word = False
    return text if is_word else str(base_path(text, folder))


def _prior_path(text: str, folder: Path) -> str:
    return text if text in ("originals", "base") else data_path(text, folder)


def data_path(text: str, folder: Path) -> str:
    """Return a data set as a word (`mannequin`, `mannequin:VARIANT`) or as an absolute path.

    A relative path starts at `folder`.
    """
    if text == "" or text.partition(":")[0] == "mannequin":
        return text
    return os.path.abspath(folder / os.path.expanduser(text))
