"""Caption files: a `.txt` or `.caption` beside each picture, or one `metadata.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from tuner.data.picture_file import UnusableError
from tuner.errors import ConfigError

SIDECARS = (".txt", ".caption")
"""Suffixes of a caption file beside its picture; the first that exists is used."""

METADATA = "metadata.jsonl"
"""A file with a line of JSON for each picture, as in Hugging Face image folders."""

_FILE_KEY = "file_name"
_TEXT_KEYS = ("text", "caption", "prompt")
_MAX_CAPTION = 20_000

CaptionSource = Path | str
"""A file to read the caption from, or the caption itself."""


def sidecar(picture: Path) -> Path | None:
    """Return the caption file beside a picture, or None."""
    files = (picture.with_suffix(suffix) for suffix in SIDECARS)
    return next((file for file in files if file.is_file()), None)


def read_metadata(folder: Path) -> dict[Path, str]:
    """Read the captions in the folder's `metadata.jsonl` by picture path; {} without that file.

    A line is `{"file_name": "a.png", "text": "1girl, solo"}`; `caption` and `prompt` mean the same
    as `text`. Raises ConfigError, with the line's number, for any other line.
    """
    path = folder / METADATA
    if not path.is_file():
        return {}
    captions: dict[Path, str] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, text = _entry(line, f"{path}, line {number}")
            captions[folder / PurePosixPath(name)] = text
    return captions


def _entry(line: str, where: str) -> tuple[str, str]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError(f"{where}: no JSON") from None
    keys = [_FILE_KEY, *_TEXT_KEYS]
    values = [entry.get(key) for key in keys] if isinstance(entry, dict) else []
    texts = [value for value in values[1:] if isinstance(value, str)]
    if not texts or not isinstance(values[0], str) or "\0" in values[0]:
        raise ConfigError(f'{where}: write {{"{_FILE_KEY}": "a.png", "text": "1girl, solo"}}')
    return values[0], texts[0]


def caption_of(source: CaptionSource) -> str:
    """Return the caption, stripped. Raises UnusableError if it is not text or is too long."""
    return _checked(source.strip()) if isinstance(source, str) else read_caption(source)


def read_caption(path: Path) -> str:
    """Read a caption file, stripped. Raises UnusableError if it is not text or is too long."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_CAPTION * 4 + 1).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UnusableError("the caption is not UTF-8 text") from None
    except OSError as error:
        raise UnusableError(f"the caption does not open: {error.strerror}") from None
    return _checked(text)


def _checked(text: str) -> str:
    if len(text) > _MAX_CAPTION:
        raise UnusableError(f"the caption is longer than {_MAX_CAPTION} characters")
    return text
