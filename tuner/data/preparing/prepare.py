"""Preparation of training data: from photographs to a folder that `tuner run --data` reads.

RAW is only read. OUT gets `images/` with captions, `regularisation/` with the whole pictures of the
crops (they teach where a cropped part belongs), and a table with the result of each picture.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pictures, ImageColor

from metrics.contract import Image
from tuner.data.caption_files import CaptionSource, caption_of, read_metadata
from tuner.data.folder import ORIGINALS_FOLDER, file_hash
from tuner.data.inventory.listing import list_folder
from tuner.data.near_copies import fingerprint
from tuner.data.picture_file import (
    OTHER_SUFFIXES,
    SUFFIXES,
    UnusableError,
    decoded_size,
    is_special,
    opened,
    read_pixels,
)
from tuner.data.preparing.picture import (
    Crop,
    Settings,
    Tools,
    caption,
    crops,
    is_refusal,
    refuse,
    refuse_young,
)
from tuner.data.preparing.record import IMAGES, Record, Result, Row
from tuner.errors import ConfigError
from tuner.storage import replacing
from tuner.storage.files import write_text
from tuner.text import counted

_STEM = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Source:
    """A photograph: its path, its name below RAW, the source of its own caption."""

    path: Path
    name: str
    caption: CaptionSource | None


def find_sources(root: Path, recursive: bool, settings: Settings) -> list[Source]:
    """List every picture in RAW by name. Raises ConfigError without pictures or captions."""
    if not root.is_dir():
        fault = "is no folder" if os.path.exists(root) else "is not there"
        raise ConfigError(f"{root} {fault}; name a folder of pictures")
    paths = _below(root, recursive)
    kept = [
        path
        for path in paths
        if not path.is_dir()  # broken links too: the table has their reason
        and path.suffix.lower() in SUFFIXES | OTHER_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    if not kept:
        hint = "" if recursive else "; --recursive also looks into its folders"
        raise ConfigError(f"{root} has no pictures{hint}")
    sources = _with_captions(root, sorted(kept))
    missing = [
        source.name for source in sources if source.caption is None and not is_special(source.path)
    ]
    if settings.captions == "own" and missing:
        raise ConfigError(
            f"{root}: {len(missing)} of {counted(len(sources), 'picture')} "
            f"{'has' if len(sources) == 1 else 'have'} no caption of their own "
            f"({', '.join(missing[:3])}); choose --captions wd14, blip, blip+wd14 or none"
        )
    return sources


def _with_captions(root: Path, paths: list[Path]) -> list[Source]:
    folders = {root, *(path.parent for path in paths)}
    listings = {folder: list_folder(folder) for folder in folders}
    tables = {folder: read_metadata(folder) for folder in folders}
    sources = []
    for path in paths:
        caption: CaptionSource | None = listings[path.parent].sidecar(path)
        for table in (tables[path.parent], tables[root]):
            caption = table.caption(path) if caption is None else caption
        sources.append(Source(path, _name(path, root), caption))
    return sources


def _below(root: Path, recursive: bool) -> Iterator[Path]:
    """Yield what is in a folder, or anywhere below it. Raises OSError for a closed folder."""
    for path in root.iterdir():
        yield path
        if recursive and path.is_dir() and not path.is_symlink():
            yield from _below(path, recursive)


def _name(path: Path, root: Path) -> str:
    """Return the path below RAW as text that every file and terminal accepts."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "replace")


def check_prepare(root: Path, out: Path, settings: Settings) -> None:
    """Check folders and settings before any model loads.

    Raises ConfigError if they cannot be used.
    """
    inside, outside = root.resolve(), out.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise ConfigError(f"{root} and {out} overlap; RAW is only read, name another OUT")
    if settings.crop != "none" and settings.person_model is None:
        raise ConfigError(
            f"--crop {settings.crop} needs a person detector: name a .pt file of ultralytics with "
            "--person-model yolov8n.pt (`mannequin` is for drawn figures)"
        )
    if settings.min_side > settings.max_side:
        raise ConfigError(
            f"--min-side {settings.min_side} is more than --max-side {settings.max_side}"
        )
    if settings.ground is not None:
        try:
            ImageColor.getrgb(settings.ground)
        except ValueError:
            raise ConfigError(
                f"--matte {settings.ground} is not a colour; write white, grey or #d0d0d0"
            ) from None


def unprepared(sources: Iterable[Source], record: Record) -> list[Source]:
    """Return the sources that no earlier run prepared and those whose file has changed since."""
    return [
        source for source in sources if source.name not in record.rows or _changed(source, record)
    ]


def _changed(source: Source, record: Record) -> bool:
    try:
        return file_hash(source.path) != record.rows[source.name].sha256
    except UnusableError:
        return True


def prepare_source(source: Source, settings: Settings, tools: Tools, record: Record) -> Row:
    """Write the training pictures of one photograph; return its row, not yet added to `record`.

    A photograph that cannot be used has its reason in the row.
    """
    sha256, hashed, whole = "", "", ""
    try:
        sha256 = file_hash(source.path)
        if (other := record.copy_of(source.name, sha256)) is not None:
            raise UnusableError(f"a copy: of {other}")
        image = _read(source.path)
        hashed = fingerprint(image).tobytes().hex()
        own = _own_caption(source)
        if (other := record.near(source.name, hashed)) is not None:
            raise UnusableError(f"a near copy: of {other}")
        refuse_young(image, tools)
        if settings.crop != "none":  # before any file is written: nobody in it may be a child
            whole = caption(image, own, settings, tools)
        cut = list(crops(image, settings, tools))
    except UnusableError as error:
        # Near copies of a refused picture are refused with it, whatever their captions say.
        kept = hashed if is_refusal(error) else ""
        return Row(source.name, sha256, (Result(reason=str(error)),), fingerprint=kept)
    name = f"{_STEM.sub('_', source.path.stem)[:40]}-{sha256[:10]}"
    results = []
    for number, crop in enumerate(cut, 1):
        file = f"{name}-{number}.png" if len(cut) > 1 else f"{name}.png"
        results.append(_written(crop, record.out / IMAGES / file, own, settings, tools))
    if not any(result.file for result in results):
        return Row(source.name, sha256, tuple(results))
    regularisation = None
    if settings.crop != "none":
        regularisation = f"{name}{source.path.suffix.lower()}"
        _copy(source.path, record.out / ORIGINALS_FOLDER / regularisation, whole)
    return Row(source.name, sha256, tuple(results), regularisation, hashed)


def _own_caption(source: Source) -> str:
    """Return the picture's own caption; check it and the name even if another is written."""
    own = "" if source.caption is None else caption_of(source.caption)
    refuse(own)
    refuse(source.name.replace("/", ", "))
    return own


def _read(path: Path) -> Image:
    if (suffix := path.suffix.lower()) in OTHER_SUFFIXES:
        raise UnusableError(f"not read: {suffix[1:]}, convert it to png or jpg")
    with opened(path) as picture:
        decoded_size(picture)
    try:
        return np.asarray(read_pixels(path), np.uint8)
    except OSError as error:
        raise UnusableError(f"does not open: {error.strerror or error}") from None


def _written(
    crop: Crop | UnusableError, path: Path, own: str, settings: Settings, tools: Tools
) -> Result:
    if isinstance(crop, UnusableError):
        return Result(reason=str(crop))
    side = min(crop.image.shape[:2])
    try:
        text = caption(crop.image, own, settings, tools)
    except UnusableError as refusal:
        return Result(None, str(refusal), side, crop.padding)
    write_text(path.with_suffix(".txt"), text + "\n")
    with replacing(path) as temporary:
        Pictures.fromarray(crop.image).save(temporary)
    return Result(path.name, None, side, crop.padding)


def _copy(source: Path, target: Path, text: str) -> None:
    write_text(target.with_suffix(".txt"), text + "\n")
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
