from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from tuner.data.formats.png import read_texts
from tuner.data.picture_file import UnusableError, decoded_size, opened, read_pixels

LARGE = zlib.compress(b"x" * 2_000_000)


def chunk(kind: bytes, data: bytes, damage: int = 0) -> bytes:
    checksum = zlib.crc32(kind + data) ^ damage
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def write(path: Path, *chunks: bytes, last: bool = False) -> Path:
    """Write a picture of 8 x 6 red pixels with these chunks before or after its pixels."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(file, "PNG")
    png = file.getvalue()
    place = len(png) - 12 if last else 33
    path.write_bytes(png[:place] + b"".join(chunks) + png[place:])
    return path


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"workflow\0\0" + LARGE),
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + LARGE),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
        chunk(b"iCCP", b"profile\0\0" + LARGE),
        chunk(b"zTXt", b"workflow\0\5abc"),
        chunk(b"tEXt", b"workflow\0abc", damage=1),
        chunk(b"eXIf", b"rubbish", damage=1),
        chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff rubbish"),
        chunk(b"zzZz", b"", damage=1),
    ],
)
def test_only_the_chunk_is_passed_over(extra: bytes, last: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", extra, chunk(b"tEXt", b"parameters\x001girl"), last=last)
    with opened(path) as image:
        assert decoded_size(image) == (8, 6)
    assert read_pixels(path).getpixel((0, 0)) == (255, 0, 0)
    assert ("parameters", "1girl") in read_texts(path)


def test_the_side_that_is_up_is_still_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = write(tmp_path / "a.png", chunk(b"eXIf", exif.tobytes()[6:]), chunk(b"tEXt", b"a\0b"))
    with opened(path) as image:
        assert decoded_size(image) == (6, 8)
    assert read_pixels(path).size == (6, 8)


def test_texts_come_in_every_coding(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "plain")
    info.add_text("b", "packed", zip=True)
    info.add_itxt("c", "\u5973", zip=True)
    info.add_text("d", "caf\xe9")
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    texts = [("a", "plain"), ("b", "packed"), ("c", "\u5973"), ("d", "caf\xe9")]
    assert read_texts(path) == texts


def test_utf8_where_latin1_belongs_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", chunk(b"tEXt", b"parameters\0" + "\u5973".encode()))
    assert read_texts(path) == [("parameters", "\u5973")]


def test_other_formats_have_no_chunks(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    assert read_texts(tmp_path / "a.jpg") == []


@pytest.mark.parametrize("size", [20, 40, 50, 60])
def test_a_file_that_is_cut_off_is_one_line(size: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", chunk(b"tEXt", b"a\0b"))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UnusableError), opened(path) as image:
        decoded_size(image)


def test_too_many_chunks_are_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", *[chunk(b"tEXt", b"a\0b")] * 30_001)
    with pytest.raises(UnusableError, match="chunks"), opened(path):
        pass
