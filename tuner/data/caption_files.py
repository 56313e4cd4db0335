"""Captions as they are stored: in a file beside each picture, or in one `metadata.jsonl`."""

from __future__ import annotations

import json
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tuner.data.inventory.listing import METADATA
from tuner.data.picture_file import UnusableError, check_file
from tuner.errors import ConfigError

_FILE_KEY = "file_name"
_TEXT_KEYS = ("text", "caption", "prompt")
_MAX_CAPTION = 20_000

_SURROGATES = re.compile("[\ud800-\udfff]")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")

CaptionSource = Path | str
"""A file to read the caption from, or the caption itself."""


@dataclass(frozen=True)
class Metadata:
    """Captions of the folder's `metadata.jsonl`, by the name of the picture in one spelling.

    `names` has each name as it is written. `repeated` is the number of lines for a name that an
    earlier line has.
    """

    folder: Path
    captions: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    repeated: int = 0

    def caption(self, picture: Path) -> str | None:
        """Return the caption of a picture in the folder or below it, None if no line names it."""
        return next((self.captions[key] for key in self._keys(picture)), None)

    def unmatched(self, pictures: Iterable[Path]) -> list[str]:
        """Return the names that are none of `pictures`, as they are written."""
        used = {key for picture in pictures for key in self._keys(picture)}
        return [name for key, name in self.names.items() if key not in used]

    def _keys(self, picture: Path) -> list[str]:
        """Return the names of a picture that are listed.

        They may begin with the folder, as in `photos/a.png`, or in its absolute path.
        """
        if not self.captions:
            return []
        name = os.path.relpath(picture, self.folder)
        absolute = os.path.abspath(self.folder)
        starts = ("", os.path.basename(absolute), absolute)
        keys = dict.fromkeys(_spelling(os.path.join(start, name)) for start in starts)
        return [key for key in keys if key in self.captions]


def read_metadata(folder: Path) -> Metadata:
    """Read the captions in the folder's `metadata.jsonl`; none without that file.

    A line is `{"file_name": "a.png", "text": "1girl, solo"}`; `caption` and `prompt` mean the same
    as `text`. Names may have slashes or backslashes. Raises ConfigError, with the line's number,
    for any other line.
    """
    path = folder / METADATA
    if not os.path.lexists(path):
        return Metadata(folder)
    captions: dict[str, str] = {}
    names: dict[str, str] = {}
    repeated = 0
    try:
        check_file(path)
        lines = _LINE_ENDS.split(path.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError, UnusableError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            name, text = _entry(line, f"{path}, line {number}")
            repeated += _spelling(name) in captions
            captions[_spelling(name)], names[_spelling(name)] = text, name
    return Metadata(folder, captions, names, repeated)


def _spelling(name: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(name.replace("\\", "/")))


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
        check_file(path)
        with path.open("rb") as file:
            text = file.read(_MAX_CAPTION * 4 + 1).decode("utf-8-sig").strip()
    except UnusableError as reason:
        raise UnusableError(f"the caption {path.name}: {reason}") from None
    except UnicodeDecodeError:
        raise UnusableError("the caption is not UTF-8 text") from None
    except OSError as error:
        raise UnusableError(f"the caption does not open: {error.strerror}") from None
    return _checked(text)


def _checked(text: str) -> str:
    if len(text) > _MAX_CAPTION:
        raise UnusableError(f"the caption is longer than {_MAX_CAPTION} characters")
    if "\0" in text:
        raise UnusableError(
            "the caption is not UTF-8 text: it has NUL characters, as UTF-16 has; save it as UTF-8"
        )
    if _SURROGATES.search(text):
        raise UnusableError("the caption has half a character, such as half an emoji; correct it")
    return text
