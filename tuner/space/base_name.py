"""The names of bases: `mannequin`, a diffusers folder, a `.safetensors` file, or a hub id."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tuner.errors import ConfigError, MissingModelError
from tuner.storage import shipped

_PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_SINGLE_FILE = ".safetensors"
_HUB_ID = re.compile(
    r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(\w[\w./-]*))?", re.ASCII
)


@dataclass(frozen=True)
class ParsedBase:
    """A base as its name describes it, before anything of it is read.

    `path` is the absolute path of a folder or file. `hub_id` is the OWNER/NAME of a hub id, and
    `revision` its branch, tag or commit, None for the main branch.
    """

    kind: Literal["mannequin", "folder", "file", "hub"]
    path: Path | None = None
    hub_id: str | None = None
    revision: str | None = None


def parse_base(text: str, folder: Path = Path()) -> ParsedBase:
    """Return the base that `text` names; a relative path starts at `folder`, `~` is expanded.

    `text` is `mannequin`, a folder, a `.safetensors` file, OWNER/NAME or OWNER/NAME@REVISION. A
    path that exists comes before a hub id of the same spelling.

    Raises ConfigError for pickled weights and other files, MissingModelError if nothing fits.
    """
    if text == "mannequin":
        return ParsedBase("mannequin")
    path = base_path(text, folder)
    if path.suffix.lower() in _PICKLES:
        raise ConfigError(f"base {text}: pickled weights can run code; give a .safetensors file")
    if os.path.isdir(path):
        return ParsedBase("folder", path)
    if os.path.isfile(path):
        if path.suffix != _SINGLE_FILE:
            raise ConfigError(
                f"base {text}: found a {path.suffix or 'plain'} file, allowed: {_SINGLE_FILE}"
            )
        return ParsedBase("file", path)
    _require_absent(text, path)
    match = _HUB_ID.fullmatch(text)
    if match and not match[1].endswith(_SINGLE_FILE):
        if not _is_accepted(match[1]):
            raise ConfigError(
                f"base {text}: no hub has such an id; a hub id OWNER/NAME has no `--` and no `..`, "
                "does not end in `.git`, and its names begin and end with a letter, a digit or `_`"
            )
        return ParsedBase("hub", hub_id=match[1], revision=match[2])
    raise MissingModelError(
        f"base {text} is not there; {_near(path)}give `mannequin`, a folder in diffusers layout, a "
        f"{_SINGLE_FILE} file, or a hub id OWNER/NAME or OWNER/NAME@REVISION"
    )


def is_address(text: str) -> bool:
    """Return True for a web address, and for a path that is written as one (`file://`)."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def is_hub_word(text: str, folder: Path = Path()) -> bool:
    """Return True if `text` is spelt like a hub id and there is no such path from `folder`."""
    match = _HUB_ID.fullmatch(text)
    return (
        match is not None
        and not match[1].lower().endswith((_SINGLE_FILE, *_PICKLES))
        and not os.path.lexists(base_path(text, folder))
    )


def cached_hub(text: str) -> Path | None:
    """Return the folder of a hub id in the hub's cache; None if its index is not there."""
    match = _HUB_ID.fullmatch(text)
    if match is None or not is_hub_word(text) or not _is_accepted(match[1]):
        return None
    from huggingface_hub import try_to_load_from_cache  # takes a while, and most bases are paths

    cached = try_to_load_from_cache(match[1], "model_index.json", revision=match[2])
    return Path(cached).parent if isinstance(cached, str) else None


def _require_absent(text: str, path: Path) -> None:
    """Raise ConfigError for a path that exists and is neither a file nor a folder; an address."""
    if is_address(text):
        raise ConfigError(
            f"base {text}: an address is not read; give the hub id OWNER/NAME of its page, or a "
            "path"
        )
    if os.path.lexists(path):
        what = "a link to a missing place" if path.is_symlink() else "neither a file nor a folder"
        raise ConfigError(f"base {text}: found {what}, allowed: a {_SINGLE_FILE} file or a folder")


def _is_accepted(hub_id: str) -> bool:
    """Return True if the hub's library accepts the id (huggingface_hub.utils.validate_repo_id)."""
    ends = [name[-1] for name in hub_id.split("/")]
    parts = ("--" in hub_id, ".." in hub_id, hub_id.endswith(".git"))
    return not any(parts) and not any(end in "-." for end in ends)


def _near(path: Path) -> str:
    """Return the question for the word `mannequin` or a neighbour of `path` with a similar name."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, ["mannequin", *names], n=1, cutoff=0.7)
    return f"did you mean '{near[0]}'? Otherwise " if near else ""


def base_path(text: str, folder: Path = Path()) -> Path:
    """Return `text` as an absolute path; a relative one starts at `folder`, `~` is expanded."""
    return Path(os.path.abspath(folder / os.path.expanduser(text)))


def mannequin_weights() -> Path:
    """Return the diffusers folder of the mannequin.

    Raises MissingModelError if its weights are not built yet.
    """
    if not (shipped.BASE / "model_index.json").is_file():
        raise MissingModelError("base mannequin: no weights; `tuner build-mannequin` makes them")
    return shipped.BASE
