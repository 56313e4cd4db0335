"""The paths in a search space: made absolute from its file, found again, replaced by content.

Special words such as `mannequin` are kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from metrics.contract import OPTIONAL_MODELS
from tuner.errors import TunerError
from tuner.space.base_name import base_path, is_address, is_hub_word, parse_base
from tuner.space.config import FACE, IDENTITY_WORDS
from tuner.storage import StudyFolder
from tuner.storage.content import content_digest

_Change = Callable[[str], str]


def absolute_paths(values: dict[str, object], folder: Path) -> None:
    """Make the relative paths in the values of a file absolute, in place, from `folder`."""
    model, data = partial(model_path, folder=folder), partial(data_path, folder=folder)
    _change(values, model, data, data)


def find_again(values: dict[str, object], folder: Path) -> None:
    """Replace paths that are no longer there, in place, after a project was moved.

    The end of a path is looked for in the folders above the study's `folder`: the nearest one
    first, and in each the longest end first. A path that is not found is kept.
    """
    place = partial(_found_again, folder=Path(os.path.abspath(folder)))
    _change(values, place, place, place)


def by_content(values: dict[str, object]) -> None:
    """Replace the paths of models by a digest of their content, and those of data by a word."""
    _change(values, _content, _content, lambda text: "folder" if os.path.isabs(text) else text)


def _change(values: dict[str, object], model: _Change, person: _Change, data: _Change) -> None:
    """Change the names of bases and models, of files of models, and of data, in place."""
    _each(values, {"base": model, "data": data})
    if values.get("regularisation") not in ("originals", "base"):
        _each(values, {"regularisation": data})
    if isinstance(bases := values.get("also_sample_on"), list):
        values["also_sample_on"] = [
            model(base) if isinstance(base, str) else base for base in bases
        ]
    if isinstance(sets := values.get("data"), dict):
        values["data"] = _each({**sets}, dict.fromkeys(sets, data))
    if isinstance(judges := values.get("judges"), dict):
        own = ("gender_model", "copy_model", *OPTIONAL_MODELS)
        changes = {**dict.fromkeys(own, model), "person_model": person}
        if judges.get("identity_model") not in IDENTITY_WORDS:
            changes["identity_model"] = person
        values["judges"] = _each({**judges}, changes)


def _each(values: dict[str, object], changes: dict[str, _Change]) -> dict[str, object]:
    for key, change in changes.items():
        if isinstance(text := values.get(key), str):
            values[key] = change(text)
    return values


def _found_again(text: str, folder: Path) -> str:
    if not os.path.isabs(text) or os.path.exists(text):
        return text
    parts = Path(text).parts[1:]
    for parent in folder.parents:
        for first in range(len(parts)):
            place = parent.joinpath(*parts[first:])
            if os.path.exists(place) and not StudyFolder(place).exists():
                return str(place)
    return text


def _content(text: str) -> str:
    digest = content_digest(Path(text)) if os.path.isabs(text) else None
    return f"content {digest}" if digest else text


def model_path(text: str, folder: Path) -> str:
    """Return a base or a judge's model as a word or as an absolute path.

    `mannequin`, `face`, OWNER/NAME and OWNER/NAME@REVISION stay as they are, unless there is such a
    path, and so do ids that no hub has: loading them reports that.
    Everything else is taken as a path from `folder`; if it is no base, loading it reports that.
    """
    if text == FACE and not (folder / text).exists():
        return text
    try:
        is_word = text == "" or parse_base(text, folder).path is None
    except TunerError:
        is_word = is_hub_word(text, folder)
    return text if is_word or is_address(text) else str(base_path(text, folder))


def data_path(text: str, folder: Path) -> str:
    """Return a data set as a word (`mannequin`, `mannequin:VARIANT`) or as an absolute path.

    A relative path starts at `folder`.
    """
    if text == "" or text.partition(":")[0] == "mannequin" or is_address(text):
        return text
    return os.path.abspath(folder / os.path.expanduser(text))
