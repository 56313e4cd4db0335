"""NovelAI's metadata in the lowest bits of a picture's alpha channel.

Column by column: a mark, the length in bits, gzip'd JSON (NovelAI's public novelai-image-metadata).
It is still there when a service has removed the text chunks.
"""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

_MARK = b"stealth_pngcomp"
_HEAD = len(_MARK) + 4
_LONGEST = 2_500_000


def hidden_text(image: Image.Image) -> str | None:
    """Return the text in the alpha channel of a decoded picture, None if there is none."""
    if image.mode != "RGBA":
        return None
    head = _bytes(image, _HEAD)
    if head[: len(_MARK)] != _MARK:
        return None
    length = int.from_bytes(head[len(_MARK) :]) // 8
    data = _bytes(image, _HEAD + min(length, _LONGEST))[_HEAD:]
    try:
        text = zlib.decompressobj(wbits=31).decompress(data, _LONGEST)
    except zlib.error:
        return None
    return text.decode("utf-8", "replace")


def _bytes(image: Image.Image, count: int) -> bytes:
    width, height = image.size
    columns = min(width, -(-count * 8 // height))
    alpha = np.asarray(image.crop((0, 0, columns, height)).getchannel("A"))
    return np.packbits(alpha.T.ravel() & 1).tobytes()[:count]
