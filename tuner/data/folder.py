"""A folder of captioned pictures becomes a training set: scanned, hashed, some held out.

Pictures are png, jpg, jpeg, webp or bmp in the folder itself, each with its caption in a `.txt`
file of the same name beside it. Only size and hash are kept; `load_pixels` reads the colours.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from tuner.data.adults import forbidden_words
from tuner.errors import ConfigError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
HELD_OUT_SHARE = 0.1
HELD_OUT_FROM = 20
"""Below this many pictures none is held out: a small set needs every one of them."""

REFUSED = "the caption names a child or an age under 18"

_MAX_PIXELS = 50_000_000
_MAX_CAPTION = 20_000
_LONGEST = 10
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation of EXIF 2.3, tag 274. Pillow's own exif_transpose writes the whole
EXIF anew, and fails where another part of it is damaged."""

_SIDEWAYS = tuple(_TURNS[orientation] for orientation in (5, 6, 7, 8))
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")


@dataclass(frozen=True)
class TrainingImage:
    """One picture on disk: its caption as written, SHA-256 of the file, upright size in pixels."""

    path: Path
    caption: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True)
class TrainingSet:
    """The pictures of a folder by name: to train on, held out for judges, set aside with reason.

    `sha256` is over all pictures and captions used, held out or not.
    """

    root: Path
    images: tuple[TrainingImage, ...]
    held_out: tuple[TrainingImage, ...]
    set_aside: tuple[tuple[Path, str], ...]
    sha256: str

    @property
    def refused(self) -> int:
        """How many pictures were set aside because their caption names a child."""
        return sum(reason.startswith(REFUSED) for _, reason in self.set_aside)


class UnusableError(Exception):
    """This picture or its caption cannot be used; the message says why."""


def read_folder(folder: Path) -> TrainingSet:
    """The training set in `folder`.

    A tenth is held out (none below 20 pictures): those with the lowest hashes, so that the choice
    depends on the pictures alone, and copies of one picture stay on one side.

    Raises ConfigError when the folder is missing or has no usable picture, or captions are missing.
    """
    paths = _picture_paths(folder)
    _require_captions(folder, paths)
    used: list[TrainingImage] = []
    aside: list[tuple[Path, str]] = []
    for path in paths:
        try:
            used.append(_read_image(path))
        except UnusableError as reason:
            aside.append((path, str(reason)))
    if not used:
        raise ConfigError(
            f"{folder}: none of {len(paths)} pictures can be used ("
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
    """The picture as RGB, turned upright as its EXIF says, transparent parts on white.

    Raises OSError when the file cannot be read any more.
    """
    return read_pixels(image.path)


def read_pixels(path: Path) -> Image.Image:
    """The picture file as `load_pixels` gives it; open it with `opened` first, which checks it.

    Raises OSError when the file cannot be read any more.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=_FORMATS) as picture:
            turn = _turn(picture)
            return _to_rgb(picture if turn is None else picture.transpose(turn))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The picture file, opened and not yet decoded: `decoded_size` decodes it.

    Raises UnusableError for what is wrong with the file, also where it comes to light inside.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                yield image
    except UnidentifiedImageError:
        raise UnusableError("no picture in a known format") from None
    except Image.DecompressionBombError:
        raise UnusableError(f"more than {_MAX_PIXELS // 1_000_000} million pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        # Pillow's decoders raise all of these on damaged files.
        raise UnusableError(f"does not open: {' '.join(str(error).split())}") from None


def decoded_size(image: Image.Image) -> tuple[int, int]:
    """Upright width and height, after the whole file was decoded once.

    Raises UnusableError for a picture too large or animated.
    """
    if image.width * image.height > _MAX_PIXELS:
        raise UnusableError(f"more than {_MAX_PIXELS // 1_000_000} million pixels")
    # MPO is what some cameras write into .jpg files: a JPEG with more pictures behind it.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise UnusableError("animated")
    width, height = image.size
    sideways = _turn(image) in _SIDEWAYS
    # A JPEG is decoded at an eighth of its size: as strict, and much faster.
    image.draft("RGB", (max(1, width // 8), max(1, height // 8)))
    image.load()
    return (height, width) if sideways else (width, height)


def too_thin(width: int, height: int) -> bool:
    """Whether sides are beyond 10 to 1: at 300 to 1 MediaPipe ends the whole process."""
    return max(width, height) > _LONGEST * min(width, height)


def read_caption(path: Path) -> str:
    """The text of a caption file. Raises UnusableError where it is no text, or far too long."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_CAPTION * 4 + 1).decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UnusableError("the caption is not UTF-8 text") from None
    except OSError as error:
        raise UnusableError(f"the caption does not open: {error.strerror}") from None
    if len(text) > _MAX_CAPTION:
        raise UnusableError(f"the caption is longer than {_MAX_CAPTION} characters")
    return text


def _picture_paths(folder: Path) -> list[Path]:
    if not os.path.isdir(folder):  # unlike Path.is_dir, it bears names of any length
        what = "is a file" if os.path.exists(folder) else "is not there"
        raise ConfigError(f"data folder {folder} {what}; name a folder of pictures with captions")
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not paths:
        deeper = [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
        hint = f"; subfolders are not searched ({', '.join(deeper[:3])})" if deeper else ""
        kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise ConfigError(f"data folder {folder} has no pictures ({kinds}){hint}")
    return paths


def _require_captions(folder: Path, paths: Sequence[Path]) -> None:
    missing = [path.name for path in paths if not path.with_suffix(".txt").is_file()]
    if missing:
        first = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ConfigError(
            f"{folder}: {len(missing)} of {len(paths)} pictures have no caption file ({first}); "
            f"write a .txt of the same name beside each, e.g. {Path(missing[0]).stem}.txt "
            "(it may be empty)"
        )


def _read_image(path: Path) -> TrainingImage:
    caption = read_caption(path.with_suffix(".txt"))
    if found := forbidden_words(caption):
        raise UnusableError(f"{REFUSED} ({', '.join(found)})")
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UnusableError(f"does not open: {error.strerror}") from None
    with opened(path) as image:
        width, height = decoded_size(image)
    return TrainingImage(path, caption, sha256, width, height)


def _held_out_hashes(images: Sequence[TrainingImage]) -> frozenset[str]:
    if len(images) < HELD_OUT_FROM:
        return frozenset()
    hashes = sorted({image.sha256 for image in images})
    return frozenset(hashes[: int(len(hashes) * HELD_OUT_SHARE)])


def _set_hash(images: Sequence[TrainingImage]) -> str:
    digest = hashlib.sha256()
    for image in images:
        caption = hashlib.sha256(image.caption.encode()).hexdigest()
        digest.update(f"{image.sha256} {caption}\n".encode())
    return digest.hexdigest()


def _turn(image: Image.Image) -> Image.Transpose | None:
    orientation = image.getexif().get(_ORIENTATION)
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a channel, which convert() would cut off, not scale
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
