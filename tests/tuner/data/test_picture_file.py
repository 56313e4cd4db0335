"""Picture files as people have them: what is read as what, what is named and why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tuner.data import picture_file, read_folder
from tuner.data.picture_file import (
    OTHER_SUFFIXES,
    UnusableError,
    decoded_size,
    has_one_colour,
    opened,
    read_pixels,
)
from tuner.errors import ConfigError


def _ramp() -> np.ndarray:
    """A ramp of three channels, (16, 64, 3) uint8."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    grey = np.full(64, 90, np.uint8)
    return np.tile(np.stack([ramp, ramp[::-1], grey], 1), (16, 1, 1))


def test_sixteen_bit_colours_keep_their_brightness(tmp_path: Path) -> None:
    deep = _ramp().astype(np.uint16) * 257
    path = tmp_path / "deep.png"
    assert cv2.imwrite(str(path), deep[..., ::-1])
    difference = np.asarray(read_pixels(path)).astype(int) - _ramp()
    assert abs(difference).max() <= 1


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(_ramp()[..., 0].astype(np.uint16) * 257).save(path)
    difference = np.asarray(read_pixels(path))[..., 0].astype(int) - _ramp()[..., 0]
    assert abs(difference).max() <= 1


def test_cmyk_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.fromarray(_ramp()).convert("CMYK").save(path, quality=100, subsampling=0)
    with Image.open(path) as picture:
        assert picture.mode == "CMYK"
    difference = np.asarray(read_pixels(path)).astype(int) - _ramp()
    assert abs(difference).mean() < 3


def test_a_picture_half_transparent_is_mixed_with_white(tmp_path: Path) -> None:
    path = tmp_path / "glass.webp"
    Image.new("RGBA", (8, 8), (200, 0, 0, 128)).save(path, lossless=True)
    assert np.abs(np.asarray(read_pixels(path))[0, 0].astype(int) - (227, 127, 127)).max() <= 1


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "I;16"])
def test_a_picture_read_in_strips_is_the_same(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    glass = Image.fromarray(np.dstack([_ramp(), _ramp()[..., 0]]), "RGBA")
    if kind == "I;16":
        Image.fromarray(_ramp()[..., 0].astype(np.uint16) * 257).save(path)
    elif kind == "P":
        glass.convert("RGB").quantize(16).save(path, transparency=bytes(range(0, 160, 10)))
    else:
        glass.convert(kind).save(path)
    whole = np.asarray(read_pixels(path))
    monkeypatch.setattr(picture_file, "_STRIP", 3 * 64)  # 16 rows are no multiple of three
    np.testing.assert_array_equal(np.asarray(read_pixels(path)), whole)


@pytest.mark.parametrize(
    ("colour", "last", "one"),
    [
        ((9, 9, 9, 255), (9, 9, 9, 255), True),
        ((9, 9, 9, 255), (9, 9, 8, 255), False),
        ((255, 255, 255, 255), (9, 9, 9, 0), True),
        ((9, 9, 9, 255), (9, 9, 9, 99), False),
    ],
)
def test_one_colour_is_what_is_seen_on_white(
    colour: tuple[int, ...],
    last: tuple[int, ...],
    one: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = Image.new("RGBA", (8, 8), colour)
    picture.putpixel((7, 7), last)
    picture.save(tmp_path / "a.png")
    monkeypatch.setattr(picture_file, "_STRIP", 8)
    with opened(tmp_path / "a.png") as image:
        decoded_size(image)
        assert has_one_colour(image) is one


def test_a_single_visible_pixel_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.new("RGBA", (8, 8), (9, 9, 9, 0))
    monkeypatch.setattr(picture_file, "_STRIP", 8)
    for visible in (False, True):
        picture.putpixel((7, 7), (9, 9, 9, 255 * visible))
        picture.save(tmp_path / "a.png")
        with opened(tmp_path / "a.png") as image:
            if visible:
                assert decoded_size(image) == (8, 8)
            else:
                with pytest.raises(UnusableError, match="wholly transparent"):
                    decoded_size(image)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_check_for_transparency_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture = Image.new("P", (4000, 4000))
    picture.putpixel((0, 3999), 1)
    picture.save(path, transparency=b"\0\xff", compress_level=1)
    script = f"""
from pathlib import Path
from tuner.data.picture_file import decoded_size, has_one_colour, opened
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
with opened(Path({str(path)!r})) as image:
    image.load()
    before = peak()
    assert decoded_size(image) == (4000, 4000) and not has_one_colour(image)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert int(done.stdout or -1) in range(40_000), done  # kB; the whole in RGBA takes 64,000


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    with pytest.raises(UnusableError, match="an empty file"), opened(path):
        pass


def test_pictures_of_other_kinds_are_named(tmp_path: Path) -> None:
    Image.fromarray(_ramp()).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("1girl")
    for suffix in OTHER_SUFFIXES:
        (tmp_path / f"phone{suffix.upper()}").write_bytes(b"something")
    data = read_folder(tmp_path)
    reasons = {path.name: reason for path, reason in data.set_aside}
    assert len(reasons) == len(OTHER_SUFFIXES)
    assert reasons["phone.HEIC"] == "heic is not read; convert it to png or jpg"


def test_a_folder_of_nothing_but_other_kinds_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"something")
    with pytest.raises(ConfigError, match=r"has no pictures .*a\.heic: heic is not read; convert"):
        read_folder(tmp_path)
