"""Reading of one picture file from anywhere: its defects, its size, its pixels.

A file is opened without being decoded, so a file with too many pixels costs nothing; every defect
ends as an UnusableError of a few words.
"""

from __future__ import annotations

import contextlib
import errno
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from metrics.contract import Image as Pixels
from tuner.data.formats.png import pixels_only

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
# fmt: off
OTHER_SUFFIXES = frozenset(
    {
        ".heic", ".heif", ".hif", ".avif", ".gif", ".tif", ".tiff", ".jfif", ".jpe", ".jif", ".jxl",
        ".jp2", ".j2k", ".jpx", ".svg", ".apng", ".dib", ".ico", ".tga", ".dds", ".exr", ".hdr",
        ".pcx", ".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".psd", ".psb", ".xcf", ".kra", ".clip",
        ".ai", ".eps", ".dng", ".raw", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf",
        ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw", ".x3f", ".3fr", ".iiq"
    }
)
# fmt: on
"""Picture kinds that are not read; they are reported, so that none goes missing silently."""

MAX_PIXELS = 50_000_000
LONGEST = 10
"""Largest ratio of sides that a detector is given: at 300 to 1 MediaPipe kills the process."""

_BLOCKS = 12
"""Blocks of a pixelated picture along its longer side: a figure can be guessed, no part of it
recognised."""

_STRIP = 2**20
"""Pixels that are converted at once: a conversion of a whole large picture takes 200 MB."""

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
"""Transpose that undoes each orientation of EXIF 2.3, tag 274. Pillow's own exif_transpose rewrites
the whole EXIF and fails if another part of it is damaged."""

_SIDEWAYS = tuple(_TURNS[orientation] for orientation in (5, 6, 7, 8))
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"8BPS", "PSD"),
)
_TOO_MANY = f"more than {MAX_PIXELS // 1_000_000} million pixels"


NO_FILE = "no regular file"


class UnusableError(Exception):
    """A picture or its caption cannot be used; the message gives the reason."""


def check_file(path: Path) -> None:
    """Raise UnusableError for a link that leads nowhere and for what is no regular file.

    A named pipe would never answer.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reason = f"does not open: {error.strerror}"
        if path.is_symlink() and error.errno == errno.ENOENT:
            reason = "a link to a missing file"
        elif error.errno == errno.ELOOP:
            reason = "a link that leads back to itself"
        raise UnusableError(reason) from None
    if not stat.S_ISREG(mode):
        raise UnusableError(NO_FILE)


def is_special(path: Path) -> bool:
    """Return True for a pipe, a socket or a device, which is no picture whatever its name says."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def format_of(path: Path) -> str | None:
    """Return the format of a picture by the first bytes of the file, None for any other file."""
    try:
        check_file(path)
        with path.open("rb") as file:
            start = file.read(16)
    except (OSError, UnusableError):
        return None
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    return next((name for mark, name in _STARTS if start.startswith(mark)), None)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture file without decoding it, for `decoded_size`, which decodes it.

    Raises UnusableError for a damaged or unknown file, even if the damage shows only in the block.
    """
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as file, Image.open(pixels_only(file), formats=_FORMATS) as image:
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
    """Decode the whole file once and return its upright width and height.

    Raises UnusableError for a picture that is too large, animated or wholly transparent.
    """
    if image.width * image.height > MAX_PIXELS:
        raise UnusableError(_TOO_MANY)
    # Some cameras write MPO into .jpg files: a JPEG followed by more pictures.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise UnusableError("animated")
    width, height = image.size
    sideways = _turn(image) in _SIDEWAYS
    # A JPEG is decoded at an eighth of its size: just as strict and much faster.
    image.draft("RGB", (max(1, width // 8), max(1, height // 8)))
    image.load()
    if image.has_transparency_data and not any(
        strip.convert("RGBA").getbbox() for _, strip in _strips(image)
    ):
        raise UnusableError("wholly transparent: nothing of it can be seen")
    return (height, width) if sideways else (width, height)


def has_one_colour(image: Image.Image) -> bool:
    """Return True if every pixel of a decoded picture has the same colour, on white ground."""
    colours: set[tuple[int, ...]] = set()
    for _, strip in _strips(image):
        extremes: Any = _to_rgb(strip).getextrema()
        colours.update(zip(*extremes, strict=True))  # the darkest and the lightest of the strip
        if len(colours) > 1:
            return False
    return True


def too_thin(width: int, height: int) -> bool:
    """Return True if the sides exceed LONGEST to 1, beyond which no detector is run."""
    return max(width, height) > LONGEST * min(width, height)


def read_pixels(path: Path) -> Image.Image:
    """Read the picture as RGB, turned upright by its EXIF, transparent parts on white.

    Open it with `opened` first, which checks it. Raises OSError if the file can no longer be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with path.open("rb") as file, Image.open(pixels_only(file), formats=_FORMATS) as picture:
            turn = _turn(picture)
            return _to_rgb(picture if turn is None else picture.transpose(turn))


def pixelated(image: Pixels) -> Pixels:
    """Return the picture in blocks of one colour each, 12 along its longer side."""
    height, width = image.shape[:2]
    longer = max(height, width)
    few = (max(1, round(_BLOCKS * width / longer)), max(1, round(_BLOCKS * height / longer)))
    import cv2  # here, since `tuner check` has to start without it

    small = cv2.resize(image, few, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF can raise anything, and the picture is still usable
        return None
    return _TURNS.get(orientation) if isinstance(orientation, int) else None


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield each horizontal strip of at most _STRIP pixels, or one row, with its top."""
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _to_rgb(image: Image.Image) -> Image.Image:
    if not (image.mode.startswith("I") or image.has_transparency_data):
        return image.convert("RGB")
    whole = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        whole.paste(_strip_to_rgb(strip), (0, top))
    return whole


def _strip_to_rgb(strip: Image.Image) -> Image.Image:
    if strip.mode.startswith("I"):  # 16 bits a channel: convert() would clip, not scale
        strip = strip.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if not strip.has_transparency_data:
        return strip.convert("RGB")
    ground = Image.new("RGBA", strip.size, "white")
    return Image.alpha_composite(ground, strip.convert("RGBA")).convert("RGB")
