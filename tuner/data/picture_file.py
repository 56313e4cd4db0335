"""One picture file, from anywhere: what is wrong with it, its size, its colours.

A file is opened without being decoded, so that one of too many pixels costs nothing; everything
that can be wrong with it ends as an UnusableError of a few words.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
OTHER_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".gif", ".tif", ".tiff", ".jfif", ".jxl", ".jp2", ".dng", ".svg"}
)
"""Pictures too, of kinds that are not read: they are named, so that nobody misses them."""

MAX_PIXELS = 50_000_000
LONGEST = 10
"""Sides beyond this ratio are shown to no detector: at 300 to 1 MediaPipe ends the process."""


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
_TOO_MANY = f"more than {MAX_PIXELS // 1_000_000} million pixels"


class UnusableError(Exception):
    """This picture or its caption cannot be used; the message says why."""


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
        empty = path.stat().st_size == 0
        raise UnusableError("an empty file" if empty else "no picture in a known format") from None
    except Image.DecompressionBombError:
        raise UnusableError(_TOO_MANY) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        # Pillow's decoders raise all of these on damaged files.
        raise UnusableError(f"does not open: {' '.join(str(error).split())}") from None


def decoded_size(image: Image.Image) -> tuple[int, int]:
    """Upright width and height, after the whole file was decoded once.

    Raises UnusableError for a picture too large or animated.
    """
    if image.width * image.height > MAX_PIXELS:
        raise UnusableError(_TOO_MANY)
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
    """Whether sides are beyond LONGEST to 1: at 300 to 1 MediaPipe ends the whole process."""
    return max(width, height) > LONGEST * min(width, height)


def read_pixels(path: Path) -> Image.Image:
    """The picture as RGB, turned upright as its EXIF says, transparent parts on white.

    Open it with `opened` first, which checks it. Raises OSError when the file cannot be read any
    more.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=_FORMATS) as picture:
            turn = _turn(picture)
            return _to_rgb(picture if turn is None else picture.transpose(turn))


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
