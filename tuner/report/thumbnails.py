"""Small pictures as text, so that a page can contain them: WebP in data addresses."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from metrics.contract import Image

SIDES = (128, 96, 64)
"""Longest sides in pixels; the largest for which all pictures stay within the budget is used."""

MOST_BYTES = 10_000_000
"""Most bytes for all pictures of a page, as text."""

_QUALITY = 75
_PROBES = 16


@dataclass(frozen=True)
class Thumbnail:
    """A small picture: its address, which contains all of it, and its size in pixels."""

    address: str
    width: int
    height: int


def thumbnails(paths: Iterable[Path]) -> dict[Path, Thumbnail]:
    """Return the small copy of each picture; a picture that cannot be read has none.

    Nothing is enlarged: a picture that is smaller than the chosen side keeps its size.
    """
    wanted = list(dict.fromkeys(paths))
    # OpenCV releases the interpreter lock while it decodes and encodes.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        side = _fitting_side(wanted)
        made = pool.map(lambda path: _thumbnail(path, side), wanted)
        return {path: small for path, small in zip(wanted, made, strict=True) if small}


def _thumbnail(path: Path, side: int) -> Thumbnail | None:
    picture = _read(path)
    if picture is None:
        return None
    small = _shrunk(picture, side)
    text = base64.b64encode(_encoded(small)).decode("ascii")
    return Thumbnail(f"data:image/webp;base64,{text}", small.shape[1], small.shape[0])


def _fitting_side(paths: Sequence[Path]) -> int:
    """Return the largest of SIDES with which the pictures fit, estimated from some of them."""
    places = np.linspace(0, len(paths) - 1, min(_PROBES, len(paths))).round().astype(int)
    read = [_read(paths[place]) for place in places]
    probes = [picture for picture in read if picture is not None]
    for side in SIDES[:-1]:
        sizes = [len(_encoded(_shrunk(picture, side))) for picture in probes]
        if np.mean(sizes or [0]) * 4 / 3 * len(paths) <= MOST_BYTES:
            return side
    return SIDES[-1]


def _read(path: Path) -> Image | None:
    """Return the picture in OpenCV's order of channels; None if it cannot be read."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError:
        return None
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    return None if picture is None else np.asarray(picture, np.uint8)


def _shrunk(picture: Image, side: int) -> Image:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _encoded(picture: Image) -> bytes:
    webp = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1]
    return bytes(webp)
