"""Training sets: scan and hash a folder of captioned pictures, and hold some of them out.

Pictures are png, jpg, jpeg, webp or bmp in the folder itself or, if it has none, in kohya's folders
`REPEATS_NAME` below it. Only size and hash are kept; `load_pixels` reads the pixels. Whatever lies
there and is not used is listed, with the reason, in `set_aside` and `inventory`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tuner.data.adults import forbidden_words
from tuner.data.caption_files import caption_of
from tuner.data.inventory.left_out import Inventory, other_kinds
from tuner.data.inventory.search import (
    Candidate,
    find_pictures,
    inventory_of,
    require_captions,
)
from tuner.data.picture_file import (
    UnusableError,
    check_file,
    decoded_size,
    has_one_colour,
    opened,
    read_pixels,
)
from tuner.errors import ConfigError
from tuner.text import counted

HELD_OUT_SHARE = 0.1
HELD_OUT_FROM = 20
"""Smallest number of pictures with a held-out part: a smaller set needs them all."""

ORIGINALS_FOLDER = "regularisation"
"""Folder of the whole pictures of the crops, which `tuner data prepare` writes beside them."""

REFUSED = "the caption names a child or an age under 18"


@dataclass(frozen=True)
class TrainingImage:
    """One picture on disk: its caption as written, SHA-256 of the file, upright size in pixels.

    It is used `repeats` times in an epoch. Nothing can be learned from one of `one_colour`.
    """

    path: Path
    caption: str
    sha256: str
    width: int
    height: int
    repeats: int = 1
    one_colour: bool = False


@dataclass(frozen=True)
class TrainingSet:
    """Pictures of a folder: to train on, held out for judges, set aside with the reason.

    `inventory` says where pictures and captions were found, and has the other files left out.

    `sha256` is over all pictures, captions and repeats used, held out or not. `regularisation`
    has pictures that preserve the base's knowledge of people, if the study trains with any.
    """

    root: Path
    images: tuple[TrainingImage, ...]
    held_out: tuple[TrainingImage, ...]
    set_aside: tuple[tuple[Path, str], ...]
    sha256: str
    regularisation: TrainingSet | None = None
    inventory: Inventory = field(default_factory=Inventory)

    @property
    def refused(self) -> int:
        """Number of pictures set aside because their caption names a child."""
        return sum(reason.startswith(REFUSED) for _, reason in self.set_aside)


TrainingSets = Mapping[str | None, TrainingSet]
"""Training sets of a study by their name in `train.data`; None for the only one."""


def read_folder(folder: Path) -> TrainingSet:
    """Read the training set in `folder`.

    A caption is a `.txt` or `.caption` file beside its picture, else a line of `metadata.jsonl`,
    else, in one of kohya's folders, the folder's NAME. A tenth is held out (none below 20
    pictures): those with the lowest hashes, so that the choice depends only on the pictures, and
    copies of one picture stay on the same side.

    Raises ConfigError if the folder or captions are missing, if no picture is usable, or if there
    are pictures both in the folder and in kohya's folders.
    """
    contents = find_pictures(folder)
    require_captions(folder, contents)
    used: list[TrainingImage] = []
    aside = other_kinds(contents.listings)
    for candidate in contents.candidates:
        try:
            used.append(_read_image(candidate))
        except UnusableError as reason:
            aside.append((candidate.path, str(reason)))
    if not used:
        raise ConfigError(
            f"{folder}: none of {counted(len(aside), 'picture')} can be used ("
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
        inventory=inventory_of(contents),
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
        check_file(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnusableError(f"does not open: {error.strerror}") from None


def _read_image(candidate: Candidate) -> TrainingImage:
    check_file(candidate.path)
    assert candidate.caption is not None
    caption = caption_of(candidate.caption)
    if words := forbidden_words(f"{candidate.folder_caption}\n{caption}"):
        raise UnusableError(f"{REFUSED} ({', '.join(words)})")
    sha256 = file_hash(candidate.path)
    with opened(candidate.path) as image:
        width, height = decoded_size(image)
        plain = has_one_colour(image)
    return TrainingImage(candidate.path, caption, sha256, width, height, candidate.repeats, plain)


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
