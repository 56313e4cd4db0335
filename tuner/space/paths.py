"""The paths in a search space: they start at its file, and words that name no path stay words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path


def absolute_paths(values: dict[str, object], folder: Path) -> None:
    """Makes the paths in a file absolute, from `folder`."""
    _absolute(
        values, {"base": model_path, "data": data_path, "regularisation": _prior_path}, folder
    )
    if isinstance(bases := values.get("also_sample_on"), list):
        values["also_sample_on"] = [
            model_path(one, folder) if isinstance(one, str) else one for one in bases
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
    """`mannequin` and OWNER/NAME stay words, unless there is such a path; the rest are paths."""
    local = text.startswith((".", "~", "/", os.sep)) or os.path.exists(folder / text)
    if text in ("", "mannequin") or (not local and _is_hub_id(text)):
        return text
    return os.path.abspath(folder / Path(text).expanduser())


def _prior_path(text: str, folder: Path) -> str:
    return text if text in ("originals", "base") else data_path(text, folder)


def data_path(text: str, folder: Path) -> str:
    """`mannequin` and `mannequin:VARIANT` stay words; all else is a path from `folder`."""
    if text == "" or text.partition(":")[0] == "mannequin":
        return text
    return os.path.abspath(folder / Path(text).expanduser())


def _is_hub_id(text: str) -> bool:
    files = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
    named = re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", text)
    return named is not None and not text.endswith(files)
