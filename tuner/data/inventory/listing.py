"""List one folder: pictures, caption files by the name of their picture, subfolders, the rest."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tuner.data.picture_file import SUFFIXES, is_special
from tuner.errors import ConfigError

SIDECARS = (".txt", ".caption")
"""Suffixes of a caption file beside its picture; the first that exists is used."""

METADATA = "metadata.jsonl"
"""A file with a line of JSON for each picture, as in Hugging Face image folders."""

_MOST_ENTRIES = 100_000
"""Files and folders that `count_pictures` looks at: a data folder may be somebody's whole disk."""


@dataclass(frozen=True)
class Listing:
    """Entries of one folder, sorted by name; links count as what they lead to.

    `pictures` have a suffix that is read, also where the link is broken. `sidecars` has the caption
    files by stem and suffix (in lower case). `hidden` are pictures and folders whose name begins
    with a dot. `others` are all other files.
    """

    folder: Path
    pictures: tuple[Path, ...]
    sidecars: Mapping[tuple[str, str], Path]
    folders: tuple[Path, ...]
    hidden: tuple[Path, ...]
    others: tuple[Path, ...]

    def sidecar(self, picture: Path) -> Path | None:
        """Return the caption file of a picture in this folder, or None."""
        files = (self.sidecars.get((stem_of(picture), suffix)) for suffix in SIDECARS)
        return next((file for file in files if file is not None), None)


def list_folder(folder: Path) -> Listing:
    """List the entries of `folder`. Raises ConfigError if it cannot be read."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ConfigError(
            f"data folder {folder} cannot be read: {error.strerror}; allow reading it, or name "
            "another folder"
        ) from None
    hidden = [path for path in entries if path.name.startswith(".")]
    shown = [path for path in entries if not path.name.startswith(".")]
    folders = [path for path in shown if os.path.isdir(path)]  # unlike Path.is_dir, never raises
    files = sorted(set(shown).difference(folders))
    sidecars = _sidecars(files)
    pictures = [path for path in files if _is_picture(path)]
    used = {*pictures, *sidecars.values()}
    return Listing(
        folder,
        tuple(pictures),
        sidecars,
        tuple(folders),
        tuple(path for path in hidden if _is_picture(path) or os.path.isdir(path)),
        tuple(path for path in files if path not in used),
    )


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _sidecars(files: Iterable[Path]) -> dict[tuple[str, str], Path]:
    """Return the caption files by stem and suffix; of `a.txt` and `a.TXT` it is `a.txt`."""
    captions = (path for path in files if path.suffix.lower() in SIDECARS)
    lower_last = sorted(captions, key=lambda path: path.suffix)
    return {(stem_of(path), path.suffix.lower()): path for path in lower_last}


def stem_of(path: Path) -> str:
    """Return the name without suffix, composed: macOS writes `ü` as two characters."""
    return unicodedata.normalize("NFC", path.stem)


def leads_back(folder: Path, parent: Path) -> bool:
    """Return True if `folder`, a link in `parent`, leads to `parent` or to a folder above it."""
    inside = os.path.join(os.path.realpath(parent), "")
    return inside.startswith(os.path.join(os.path.realpath(folder), ""))


def count_pictures(folder: Path) -> int:
    """Return the number of pictures in `folder` and below it, without following links below it.

    Folders that cannot be read count as empty.
    """
    count = entries = 0
    for above, inner, files in os.walk(folder):
        entries += len(inner) + len(files)
        shown = [Path(above, name) for name in files if Path(name).suffix.lower() in SUFFIXES]
        count += sum(not is_special(path) for path in shown)
        if entries > _MOST_ENTRIES:
            break
    return count
