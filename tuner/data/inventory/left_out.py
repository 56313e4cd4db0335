"""Files of a data folder that are not used, each with the reason: folders, captions, tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuner.data.inventory.listing import (
    METADATA,
    SIDECARS,
    Listing,
    count_pictures,
    leads_back,
    stem_of,
)
from tuner.data.picture_file import NO_FILE, OTHER_SUFFIXES, format_of, is_special

NOT_SEARCHED = "pictures in folders that are not searched"
NOT_REPEATS = "pictures in folders that are not named like 10_NAME"
NOT_READABLE = "folders that cannot be read"
HIDDEN = "hidden pictures"
NO_PICTURE = "caption files without a picture of their name"
SECOND = "caption files beside another one, which is read instead"
OTHER_FORM = "files beside pictures that are not read, only .txt and .caption are"
TABLES = "tables that are not read, only metadata.jsonl is"
FILMS = "films and archives"
NO_MATCH = "lines of metadata.jsonl that name no picture"
REPEATED = "lines of metadata.jsonl that repeat a name, the last one is read"
OVERRULED = "lines of metadata.jsonl for pictures with a caption file, which is read instead"

_TABLES = frozenset({".json", ".jsonl", ".csv", ".tsv", ".parquet", ".toml", ".xlsx"})
_FILMS = frozenset(
    {".mp4", ".webm", ".mov", ".mkv", ".avi", ".zip", ".rar", ".7z", ".tar", ".tgz", ".gz"}
)
_NOT_TEXT = frozenset({".npz", ".npy", ".safetensors", ".pt", ".bak", ".tmp"})
"""Caches of other trainers beside a picture: they have no captions."""


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not used; `kind` says what is lost and why, in the plural.

    `count` is the number of pictures, files or lines. `detail` is shown in place of the name.
    """

    path: Path
    kind: str
    count: int = 1
    detail: str = ""


@dataclass(frozen=True)
class Inventory:
    """Contents of a data folder.

    `pictures` counts them by the folder that they are in, `captions` by source (`.txt`).
    """

    pictures: Mapping[str, int] = field(default_factory=dict)
    captions: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def other_kinds(listings: Sequence[Listing]) -> list[tuple[Path, str]]:
    """Return pictures of kinds that are not read, with the reason, in order to report them."""
    aside = []
    for path in (path for listing in listings for path in listing.others):
        suffix = path.suffix.lower()
        if suffix in OTHER_SUFFIXES and is_special(path):
            aside.append((path, NO_FILE))
        elif suffix in OTHER_SUFFIXES:
            aside.append((path, f"{suffix[1:]} is not read; convert it to png or jpg"))
        elif kind := format_of(path):
            aside.append((path, f"a {kind} picture by its content; name it like one"))
    return aside


def folders_left_out(listing: Listing, kind: str, used: Sequence[Path] = ()) -> Iterator[LeftOut]:
    """Yield the subfolders with pictures, except those `used`, and the hidden pictures."""
    for path in listing.folders:
        if not os.access(path, os.R_OK | os.X_OK):
            yield LeftOut(path, NOT_READABLE)
        elif path not in used and (count := _count_below(path, listing.folder)):
            yield LeftOut(path, kind, count)
    for path in listing.hidden:
        inside = os.path.isdir(path)
        count = _count_below(path, listing.folder) if inside else int(not is_special(path))
        if count:
            yield LeftOut(path, HIDDEN, count)


def captions_left_out(listing: Listing) -> Iterator[LeftOut]:
    """Yield the files of a folder that may have captions and are not read."""
    pictures = {stem_of(path) for path in listing.pictures}
    not_read = {stem_of(path) for path in listing.others if path.suffix.lower() in OTHER_SUFFIXES}
    for (stem, suffix), path in listing.sidecars.items():
        if stem not in pictures | not_read:
            yield LeftOut(path, NO_PICTURE)
        elif suffix != SIDECARS[0] and (stem, SIDECARS[0]) in listing.sidecars:
            yield LeftOut(path, SECOND)
    named = pictures | {path.name for path in listing.pictures}
    for path in listing.others:
        if kind := _kind(path, stem_of(path) in named):
            yield LeftOut(path, kind)


def _kind(path: Path, beside_picture: bool) -> str | None:
    """Return why another file is left out; None for a picture and for what is no data."""
    suffix = path.suffix.lower()
    if suffix in OTHER_SUFFIXES | _NOT_TEXT or path.name == METADATA or format_of(path):
        return None
    if suffix in SIDECARS:
        return SECOND
    if suffix in _FILMS:
        return FILMS
    if beside_picture:
        return OTHER_FORM
    return TABLES if suffix in _TABLES else None


def _count_below(folder: Path, parent: Path) -> int:
    return 0 if leads_back(folder, parent) else count_pictures(folder)
