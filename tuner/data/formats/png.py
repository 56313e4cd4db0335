"""PNG files chunk by chunk: the pixels without the other chunks, and the texts alone.

Pillow refuses a whole picture if one of its texts or its colour profile is large or damaged. Those
chunks do not belong to the pixels (PNG specification 3, section 11.3), so it never gets to see
them.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FRAME = 12  # bytes around a chunk's data: length, kind, checksum
_NEEDED = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})
"""Chunks that are called ancillary and do decide which pixels are seen."""

_EXIF = b"eXIf"
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_TURNING = frozenset({"Raw profile type exif", "XML:com.adobe.xmp"})
"""Texts in which Pillow looks for the side that is up, as in the chunk eXIf."""

_PILLOWS_LIMIT = 1_000_000  # characters of a text, below its own limit of a mebibyte
_LONGEST_TEXT = 2_500_000
_ALL_TEXTS = 10_000_000
_MOST_CHUNKS = 30_000  # a picture of 50 million pixels in chunks of 8 kB has 25,000


def pixels_only(file: BinaryIO) -> BinaryIO:
    """Return the file as a stream without the chunks that are not needed for its pixels.

    A file that is no PNG is returned as it is. Raises OSError if there are too many chunks.
    """
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        file.seek(0)
        return file
    parts = [(0, len(_SIGNATURE))]
    end = len(_SIGNATURE)
    for kind, place, length in _chunks(file):
        start, end = place - 8, place + length + 4
        if _is_needed(file, kind, place, length):
            if parts[-1][1] == start:
                start = parts.pop()[0]
            parts.append((start, end))
    file.seek(0)
    return file if len(parts) == 1 else io.BufferedReader(_Parts(file, parts))


def read_texts(path: Path) -> list[tuple[str, str]]:
    """Return keyword and text of each text chunk of a PNG, in the file's order.

    A damaged chunk is passed over, one longer than 2.5 MB is cut there, and all text after 10 MB
    is passed over. The list is empty for a file of another format. Raises OSError.
    """
    texts: list[tuple[str, str]] = []
    left = _ALL_TEXTS
    with path.open("rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            return []
        for kind, place, length in _chunks(file):
            if kind not in _TEXTS or left <= 0:
                continue
            file.seek(place)
            entry = _text(kind, file.read(min(length, _LONGEST_TEXT)))
            if entry is not None:
                texts.append(entry)
                left -= len(entry[1])
    return texts


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, place and length of the data of each chunk; the last may exceed the file."""
    place = len(_SIGNATURE)
    size = os.fstat(file.fileno()).st_size
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield kind, place + 8, min(length, size)
        if kind == b"IEND":
            return
        place += _FRAME + length
    raise OSError(f"more than {_MOST_CHUNKS:,} chunks")


def _is_needed(file: BinaryIO, kind: bytes, place: int, length: int) -> bool:
    if kind == _EXIF or (kind in _TEXTS and length < _PILLOWS_LIMIT):
        file.seek(place)
        data, checksum = file.read(min(length, _PILLOWS_LIMIT)), file.read(4)
        if struct.pack(">I", zlib.crc32(kind + data)) != checksum:
            return False
        if kind == _EXIF:
            return True
        keyword, text = _text(kind, data) or ("", "")
        return keyword in _TURNING and len(text) < _PILLOWS_LIMIT
    ancillary = kind.isalpha() and kind[:1].islower()
    return not ancillary or kind in _NEEDED


def _text(kind: bytes, data: bytes) -> tuple[str, str] | None:
    keyword, separator, value = data.partition(b"\0")
    if not separator:
        return None
    if kind == b"zTXt":
        value = _inflated(value[1:])
    elif kind == b"iTXt":
        compressed, fields = value[:1] == b"\1", value[2:].split(b"\0", 2)
        value = fields[-1] if len(fields) == 3 else b""
        value = _inflated(value) if compressed else value
    return keyword.decode("latin-1"), _decoded(value)


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _LONGEST_TEXT)
    except zlib.error:
        return b""


def _decoded(text: bytes) -> str:
    """Decode a text: many programs write UTF-8 where the format says Latin-1."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


class _Parts(io.RawIOBase):
    """A file that reads as if it held only some of its parts, each from a start to an end."""

    def __init__(self, file: BinaryIO, parts: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self._file, self._parts = file, parts
        self._offsets = [0]  # of each part in the stream, and the stream's length
        for start, end in parts:
            self._offsets.append(self._offsets[-1] + end - start)
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = max(0, (0, self._place, self._offsets[-1])[whence] + offset)
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._place >= self._offsets[-1]:
            return 0
        part = bisect_right(self._offsets, self._place) - 1
        start, end = self._parts[part]
        place = start + self._place - self._offsets[part]
        self._file.seek(place)
        data = self._file.read(min(len(buffer), end - place))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
