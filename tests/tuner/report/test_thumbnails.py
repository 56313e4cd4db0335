from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tuner.data.picture_file import pixelated
from tuner.report import thumbnails as module
from tuner.report.thumbnails import Thumbnail, thumbnails


def saved(path: Path, width: int = 512, height: int = 512) -> Path:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (height // 32, width // 32, 3), dtype=np.uint8)
    Image.fromarray(cv2.resize(small, (width, height))).save(path)
    return path


def read(small: Thumbnail) -> np.ndarray:
    kind, _, text = small.address.partition(",")
    assert kind == "data:image/webp;base64"
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    assert picture.shape == (small.height, small.width, 3)
    return picture


def test_a_picture_shrinks_to_the_side_and_stays_itself(tmp_path: Path) -> None:
    path = saved(tmp_path / "a b é.png", 512, 768)
    small = read(thumbnails([path])[path])
    assert small.shape == (128, 85, 3)
    whole = cv2.resize(np.asarray(Image.open(path)), (85, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - whole).mean() < 12


def test_nothing_is_enlarged(tmp_path: Path) -> None:
    path = saved(tmp_path / "small.png", 64, 32)
    assert read(thumbnails([path])[path]).shape == (32, 64, 3)


@pytest.mark.slow
def test_many_pictures_get_smaller_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [saved(tmp_path / f"{number}.png") for number in range(8)]
    bytes_at_96 = len(
        module._encoded(cv2.resize(module._read(paths[0]), (96, 96), interpolation=3))
    )
    monkeypatch.setattr(module, "MOST_BYTES", 8 * 4 / 3 * (bytes_at_96 + 1))
    assert {read(small).shape[0] for small in thumbnails(paths).values()} == {96}
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    assert {read(small).shape[0] for small in thumbnails(paths).values()} == {64}


def test_pictures_that_cannot_be_read_have_none(tmp_path: Path) -> None:
    empty, broken, good = tmp_path / "empty.png", tmp_path / "broken.png", tmp_path / "good.png"
    empty.touch()
    broken.write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    assert set(thumbnails([empty, broken, tmp_path / "gone.png", saved(good), good])) == {good}
    assert thumbnails([]) == {}


def test_a_pixelated_picture_stays_pixelated(tmp_path: Path) -> None:
    path = saved(tmp_path / "flagged.png")
    hidden = pixelated(np.asarray(Image.open(path)))
    Image.fromarray(hidden).save(path)
    small = read(thumbnails([path])[path])
    colours = cv2.resize(small, (12, 12), interpolation=cv2.INTER_AREA)
    back = cv2.resize(colours, (128, 128), interpolation=cv2.INTER_NEAREST)
    assert np.median(np.abs(back.astype(int) - small)) < 8
