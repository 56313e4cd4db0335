"""Picture files as people have them: what is read as what, what is named and why."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tuner.data import read_folder
from tuner.data.picture_file import OTHER_SUFFIXES, UnusableError, opened, read_pixels
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
