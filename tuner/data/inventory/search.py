"""Find the pictures of a data folder with their captions, and what lies there beside them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.data.caption_files import CaptionSource, Metadata, read_metadata
from tuner.data.inventory.left_out import (
    NO_MATCH,
    NOT_REPEATS,
    NOT_SEARCHED,
    OVERRULED,
    REPEATED,
    Inventory,
    LeftOut,
    captions_left_out,
    folders_left_out,
    other_kinds,
)
from tuner.data.inventory.listing import METADATA, Listing, leads_back, list_folder
from tuner.data.picture_file import SUFFIXES, is_special
from tuner.errors import ConfigError
from tuner.text import counted, printable, readable

MAX_REPEATS = 1000

_ADDRESS = re.compile("[A-Za-z]{2}[A-Za-z0-9+.-]*:/")
"""The start of a web address, or of `file://`, as a path has it."""

_REPEATS = re.compile(r"(\d+)_(.+)")
"""kohya's folder names: repeats per epoch, and the caption of pictures that have none."""


@dataclass(frozen=True)
class Candidate:
    """A picture, its caption (None: there is none) with its source, and its kohya folder's data."""

    path: Path
    caption: CaptionSource | None
    source: str
    repeats: int = 1
    folder_caption: str = ""


@dataclass(frozen=True)
class Contents:
    """Listings of the folders that pictures are taken from, the pictures, the tables of captions.

    The first listing is of the folder itself.
    """

    listings: tuple[Listing, ...]
    candidates: tuple[Candidate, ...]
    tables: tuple[Metadata, ...]


def find_pictures(folder: Path) -> Contents:
    """Find the pictures in `folder` or, if it has none, in kohya's folders below it.

    Raises ConfigError if the folder cannot be read, has no pictures, or has both kinds.
    """
    if not os.path.isdir(folder):  # unlike Path.is_dir, it accepts names of any length
        here = "is a file" if os.path.isfile(folder) else "is no folder"
        fault = here if os.path.exists(folder) else "is not there"
        if _ADDRESS.match(str(folder)):
            fault = "is an address, which is not read"
        raise ConfigError(f"data folder {folder} {fault}; name a folder of pictures with captions")
    top, table = list_folder(folder), read_metadata(folder)
    below = [
        list_folder(path)
        for path in top.folders
        if _REPEATS.fullmatch(path.name) and not leads_back(path, folder)
    ]
    if top.pictures:
        _refuse_both(top, below)
        return Contents((top,), tuple(_candidates(top, (table,))), (table,))
    tables = [read_metadata(listing.folder) for listing in below]
    candidates = [
        candidate
        for listing, own in zip(below, tables, strict=True)
        for candidate in _repeated(listing, (own, table))
    ]
    if not candidates:
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise ConfigError(f"data folder {folder} has no pictures ({kinds}){_hint(top, below)}")
    return Contents((top, *below), tuple(candidates), (table, *tables))


def _refuse_both(top: Listing, below: Sequence[Listing]) -> None:
    """Raise ConfigError for pictures beside kohya's folders: one of both would not be used."""
    counts = {each.folder.name: len(each.pictures) for each in below if _repeats(each.folder)}
    if any(counts.values()):
        named = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
        raise ConfigError(
            f"data folder {top.folder} has {counted(len(top.pictures), 'picture')} of its own "
            f"({top.pictures[0].name}{', ...' if len(top.pictures) > 1 else ''}) and folders named "
            f"like 10_NAME ({named}), allowed: one of both; move the pictures into a folder named "
            "like 1_NAME, or those folders elsewhere"
        )


def _repeats(folder: Path) -> int | None:
    """Return the repeats in the name of one of kohya's folders; None for any other name."""
    match = _REPEATS.fullmatch(folder.name)
    repeats = int(match[1]) if match and len(match[1]) < 10 else 0
    return repeats if 1 <= repeats <= MAX_REPEATS else None


def _hint(top: Listing, below: Sequence[Listing]) -> str:
    if others := other_kinds([top, *below]):
        return f"; {others[0][0].name}: {others[0][1]}"
    names = ", ".join(path.name for path in top.folders[:3])
    return f"; subfolders are not searched ({names}) unless named like 10_NAME" if names else ""


def _repeated(listing: Listing, tables: Sequence[Metadata]) -> list[Candidate]:
    match, repeats = _REPEATS.fullmatch(listing.folder.name), _repeats(listing.folder)
    if match and listing.pictures and repeats is None:
        raise ConfigError(
            f"{listing.folder}: {match[1]} repeats of each picture, allowed: 1 to {MAX_REPEATS}; "
            "rename it"
        )
    name = readable(match[2].strip()) if match else ""
    return _candidates(listing, tables, repeats or 1, name)


def _candidates(
    listing: Listing, tables: Sequence[Metadata], repeats: int = 1, name: str | None = None
) -> list[Candidate]:
    """Return the pictures of a folder; `name` is the caption of those without another one."""
    candidates = []
    for path in listing.pictures:
        beside = listing.sidecar(path)
        listed = (table.caption(path) for table in tables)
        caption = beside or next((text for text in listed if text is not None), name)
        source = beside.suffix.lower() if beside else METADATA
        if not beside and all(table.caption(path) is None for table in tables):
            source = "folder name"
        candidates.append(Candidate(path, caption, source, repeats, name or ""))
    return candidates


def inventory_of(contents: Contents) -> Inventory:
    """Count pictures and captions by their place, and list the files that are not used."""
    top, *below = contents.listings
    paths = [listing.folder for listing in below]
    left_out = list(folders_left_out(top, NOT_REPEATS if below else NOT_SEARCHED, paths))
    for listing in below:
        left_out += folders_left_out(listing, NOT_SEARCHED)
    for listing in contents.listings:
        left_out += captions_left_out(listing)
    candidates = [each for each in contents.candidates if not is_special(each.path)]
    pictures = [candidate.path for candidate in candidates]
    beside = [each.path for each in candidates if isinstance(each.caption, Path)]
    for table in contents.tables:
        left_out += _lines_left_out(table, pictures, beside)
    return Inventory(
        Counter(path.parent.name if below else "" for path in pictures),
        Counter(candidate.source for candidate in candidates),
        tuple(left_out),
    )


def _lines_left_out(
    table: Metadata, pictures: Sequence[Path], beside: Sequence[Path]
) -> list[LeftOut]:
    unmatched = table.unmatched(pictures)
    overruled = sum(table.caption(path) is not None for path in beside)
    counts = ((NO_MATCH, len(unmatched)), (REPEATED, table.repeated), (OVERRULED, overruled))
    return [
        LeftOut(table.folder / METADATA, kind, count, unmatched[0] if kind == NO_MATCH else "")
        for kind, count in counts
        if count
    ]


def require_captions(folder: Path, contents: Contents) -> None:
    """Raise ConfigError if pictures have no caption; pipes and broken links need none."""
    pictures = [candidate.path for candidate in contents.candidates]
    without = (each.path for each in contents.candidates if each.caption is None)
    missing = [path.name for path in without if path.is_file()]
    if not missing:
        return
    first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    todo = (
        f"write a .txt of the same name beside each, e.g. {Path(missing[0]).stem}.txt (it may be "
        f"empty), or a line of {METADATA}"
    )
    if wrong := contents.tables[0].unmatched(pictures):
        todo = (
            f"{len(wrong)} of {counted(len(contents.tables[0].names), 'line')} of {METADATA} "
            f"name no picture here; the first is {printable(wrong[0])}, write names as in "
            f"{missing[0]}"
        )
    other = [each.path.name for part in contents.listings for each in captions_left_out(part)]
    not_read = f"; not read: {printable(', '.join(other[:3]))}" if other else ""
    raise ConfigError(
        f"{folder}: {len(missing)} of {counted(len(pictures), 'picture')} "
        f"{'has' if len(pictures) == 1 else 'have'} no caption file ({first}); {todo}{not_read}"
    )
