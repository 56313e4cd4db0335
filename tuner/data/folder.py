"""Training sets: scan and hash a folder of captioned pictures, and hold some of them out.

Pictures are png, jpg, jpeg, webp or bmp in the folder itself or, if it has none, in kohya's folders
`REPEATS_NAME` below it. Only size and hash are kept; `load_pixels` reads the pixels.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tuner.data.adults import forbidden_words
from tuner.data.caption_files import METADATA, CaptionSource, caption_of, read_metadata, sidecar
from tuner.data.picture_file import (
    OTHER_SUFFIXES,
    SUFFIXES,
    UnusableError,
    decoded_size,
    opened,
    read_pixels,
)
from tuner.errors import ConfigError

HELD_OUT_SHARE = 0.1
HELD_OUT_FROM = 20
"""Smallest number of pictures with a held-out part: a smaller set needs them all."""

ORIGINALS_FOLDER = "regularisation"
"""Folder of the whole pictures of the crops, which `tuner data prepare` writes beside them."""

REFUSED = "the caption names a child or an age under 18"
MAX_REPEATS = 1000

_REPEATS = re.compile(r"(\d+)_(.+)")
"""kohya's folder names: repeats per epoch, and the caption of pictures that have none."""


@dataclass(frozen=True)
class TrainingImage:
    """One picture on disk: its caption as written, SHA-256 of the file, upright size in pixels.

    It is used `repeats` times in an epoch.
    """

    path: Path
    caption: str
    sha256: str
    width: int
    height: int
    repeats: int = 1


@dataclass(frozen=True)
class TrainingSet:
    """Pictures of a folder: to train on, held out for judges, set aside with the reason.

    `sha256` is over all pictures, captions and repeats used, held out or not. `regularisation`
    has pictures that preserve the base's knowledge of people, if the study trains with any.
    """

    root: Path
    images: tuple[TrainingImage, ...]
    held_out: tuple[TrainingImage, ...]
    set_aside: tuple[tuple[Path, str], ...]
    sha256: str
    regularisation: TrainingSet | None = None

    @property
    def refused(self) -> int:
        """Number of pictures set aside because their caption names a child."""
        return sum(reason.startswith(REFUSED) for _, reason in self.set_aside)


TrainingSets = Mapping[str | None, TrainingSet]
"""Training sets of a study by their name in `train.data`; None for the only one."""


@dataclass(frozen=True)
class _Candidate:
    """A picture, the source of its caption (None: there is none), and its kohya folder's data."""

    path: Path
    caption: CaptionSource | None
    repeats: int = 1
    folder_caption: str = ""


def read_folder(folder: Path) -> TrainingSet:
    """Read the training set in `folder`.

    A caption is a `.txt` or `.caption` file beside its picture, else a line of `metadata.jsonl`,
    else, in one of kohya's folders, the folder's NAME. A tenth is held out (none below 20
    pictures): those with the lowest hashes, so that the choice depends only on the pictures, and
    copies of one picture stay on the same side.

    Raises ConfigError if the folder or captions are missing or no picture is usable.
    """
    candidates = _find(folder)
    _require_captions(folder, candidates)
    used: list[TrainingImage] = []
    aside = _other_kinds({candidate.path.parent for candidate in candidates})
    for candidate in candidates:
        try:
            used.append(_read_image(candidate))
        except UnusableError as reason:
            aside.append((candidate.path, str(reason)))
    if not used:
        raise ConfigError(
            f"{folder}: none of {len(aside)} pictures can be used ("
            + "; ".join(f"{path.name}: {reason}" for path, reason in aside[:3])
            + ")"
        )
    held = _held_out_hashes(used)
    return TrainingSet(
        root=folder,
        images=tuple(image for image in used if image.sha256 not in held),
        held_out=tuple(image for image in used if image.sha256 in held),
        set_aside=tuple(aside),
        sha256=_set_hash(used),
    )


def load_pixels(image: TrainingImage) -> Image.Image:
    """Read the picture as RGB, turned upright by its EXIF, transparent parts on white.

    Raises OSError if the file can no longer be read.
    """
    return read_pixels(image.path)


def epoch(images: Sequence[TrainingImage]) -> tuple[int, ...]:
    """Return the pictures of one epoch by index, each as often as its repeats say.

    Repeats are reduced to lowest terms: if all are equal, every picture comes once.
    """
    common = math.gcd(*(image.repeats for image in images))
    return tuple(
        index for index, image in enumerate(images) for _ in range(image.repeats // common)
    )


def file_hash(path: Path) -> str:
    """Compute the SHA-256 of a file. Raises UnusableError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnusableError(f"does not open: {error.strerror}") from None


def _find(folder: Path) -> list[_Candidate]:
    if not os.path.isdir(folder):  # unlike Path.is_dir, it accepts names of any length
        fault = "is a file" if os.path.exists(folder) else "is not there"
        raise ConfigError(f"data folder {folder} {fault}; name a folder of pictures with captions")
    listed = read_metadata(folder)
    if paths := _pictures(folder):
        return [_Candidate(path, sidecar(path) or listed.get(path)) for path in paths]
    deeper = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    repeated = [candidate for path in deeper for candidate in _find_repeated(path, listed)]
    if not repeated:
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise ConfigError(f"data folder {folder} has no pictures ({kinds}){_hint(folder, deeper)}")
    return repeated


def _hint(folder: Path, deeper: Sequence[Path]) -> str:
    if others := _other_kinds([folder]):
        return f"; {others[0][0].name}: {others[0][1]}"
    names = ", ".join(path.name for path in deeper[:3])
    return f"; subfolders are not searched ({names}) unless named like 10_NAME" if deeper else ""


def _find_repeated(folder: Path, listed: dict[Path, str]) -> list[_Candidate]:
    match = _REPEATS.fullmatch(folder.name)
    paths = _pictures(folder) if match else []
    if not match or not paths:
        return []
    repeats, name = int(match[1]), match[2].strip()
    if not 1 <= repeats <= MAX_REPEATS:
        raise ConfigError(
            f"{folder}: {repeats} repeats of each picture, allowed: 1 to {MAX_REPEATS}; rename it"
        )
    listed = listed | read_metadata(folder)
    return [
        _Candidate(path, sidecar(path) or listed.get(path, name), repeats, name) for path in paths
    ]


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in _files(folder) if path.suffix.lower() in SUFFIXES)


def _files(folder: Path) -> Iterable[Path]:
    paths = (path for path in folder.iterdir() if not path.name.startswith("."))
    return (path for path in paths if path.is_file())


def _other_kinds(folders: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return pictures of kinds that are not read, with the reason, in order to report them."""
    paths = [path for folder in sorted(folders) for path in sorted(_files(folder))]
    return [
        (path, f"{path.suffix.lower()[1:]} is not read; convert it to png or jpg")
        for path in paths
        if path.suffix.lower() in OTHER_SUFFIXES
    ]


def _require_captions(folder: Path, candidates: Sequence[_Candidate]) -> None:
    missing = [candidate.path.name for candidate in candidates if candidate.caption is None]
    if missing:
        first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ConfigError(
            f"{folder}: {len(missing)} of {len(candidates)} pictures have no caption file ({first})"
            f"; write a .txt of the same name beside each, e.g. {Path(missing[0]).stem}.txt "
            f"(it may be empty), or a line of {METADATA}"
        )


def _read_image(candidate: _Candidate) -> TrainingImage:
    assert candidate.caption is not None
    caption = caption_of(candidate.caption)
    if words := forbidden_words(f"{candidate.folder_caption}\n{caption}"):
        raise UnusableError(f"{REFUSED} ({', '.join(words)})")
    sha256 = file_hash(candidate.path)
    with opened(candidate.path) as image:
        width, height = decoded_size(image)
    return TrainingImage(candidate.path, caption, sha256, width, height, candidate.repeats)


def _held_out_hashes(images: Sequence[TrainingImage]) -> frozenset[str]:
    if len(images) < HELD_OUT_FROM:
        return frozenset()
    hashes = sorted({image.sha256 for image in images})
    return frozenset(hashes[: int(len(hashes) * HELD_OUT_SHARE)])


def _set_hash(images: Sequence[TrainingImage]) -> str:
    digest = hashlib.sha256()
    for image in images:
        caption = hashlib.sha256(image.caption.encode()).hexdigest()
        repeats = f" x{image.repeats}" if image.repeats != 1 else ""
        digest.update(f"{image.sha256} {caption}{repeats}\n".encode())
    return digest.hexdigest()
