"""The folder reader on folders that are good, odd and bad."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tuner.data import TrainingSet, read_folder
from tuner.data.folder import load_pixels
from tuner.errors import ConfigError


def _picture(seed: int, size: tuple[int, int] = (24, 16)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _add(folder: Path, name: str, caption: str | None = "1girl, solo", seed: int = 0) -> Path:
    path = folder / name
    _picture(seed).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def _names(data: TrainingSet) -> list[str]:
    return [image.path.name for image in data.images]


def test_pictures_of_every_kind_are_read_in_order(tmp_path: Path) -> None:
    names = ["a.png", "b.jpg", "c.JPEG", "d.webp", "e.bmp", "für.png"]
    for seed, name in enumerate(names):
        _add(tmp_path, name, f"tag {seed}", seed)
    (tmp_path / "notes.md").write_text("not a picture")
    (tmp_path / ".hidden.png").write_text("not a picture")
    data = read_folder(tmp_path)
    assert _names(data) == names
    assert [image.caption for image in data.images] == [f"tag {seed}" for seed in range(6)]
    assert {(image.width, image.height) for image in data.images} == {(24, 16)}
    assert data.held_out == ()
    assert data.set_aside == ()


def test_captions_are_stripped_and_may_be_empty(tmp_path: Path) -> None:
    _add(tmp_path, "a.png", "﻿ 1girl \n", 0)
    _add(tmp_path, "b.png", "", 1)
    assert [image.caption for image in read_folder(tmp_path).images] == ["1girl", ""]


@pytest.mark.parametrize(("count", "held"), [(19, 0), (20, 2), (55, 5)])
def test_a_tenth_is_held_out_from_twenty_on(tmp_path: Path, count: int, held: int) -> None:
    for number in range(count):
        _add(tmp_path, f"{number:02d}.png", seed=number)
    data = read_folder(tmp_path)
    assert len(data.held_out) == held
    assert len(data.images) == count - held


def test_the_held_out_do_not_depend_on_names(tmp_path: Path) -> None:
    (first := tmp_path / "first").mkdir()
    (second := tmp_path / "second").mkdir()
    for number in range(30):
        _add(first, f"{number:02d}.png", seed=number)
        _add(second, f"{29 - number:02d}.png", seed=number)
    hashes = [{i.sha256 for i in read_folder(f).held_out} for f in (first, second)]
    assert hashes[0] == hashes[1]


def test_copies_of_a_picture_stay_on_one_side(tmp_path: Path) -> None:
    for number in range(30):
        _add(tmp_path, f"a{number:02d}.png", seed=number)
        _add(tmp_path, f"b{number:02d}.png", seed=number)
    data = read_folder(tmp_path)
    trained, held = ({i.sha256 for i in part} for part in (data.images, data.held_out))
    assert len(data.held_out) == 6
    assert not trained & held


def test_the_hash_follows_pictures_and_captions(tmp_path: Path) -> None:
    _add(tmp_path, "a.png", "1girl", 0)
    first = read_folder(tmp_path).sha256
    assert read_folder(tmp_path).sha256 == first
    (tmp_path / "a.txt").write_text("1boy")
    second = read_folder(tmp_path).sha256
    _add(tmp_path, "a.png", "1girl", 1)
    assert len({first, second, read_folder(tmp_path).sha256}) == 3


def test_damaged_pictures_are_set_aside_with_their_reason(tmp_path: Path) -> None:
    _add(tmp_path, "good.png")
    (_add(tmp_path, "empty.png")).write_bytes(b"")
    (_add(tmp_path, "text.jpg")).write_text("hello")
    for name in ("cut.jpg", "cut.png", "cut.webp"):
        whole = _add(tmp_path, name, seed=3)
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames = [_picture(seed) for seed in range(2)]
    frames[0].save(_add(tmp_path, "moving.webp"), save_all=True, append_images=frames[1:])
    (tmp_path / "letter.txt").write_bytes(b"\xff\xfe\xff")
    _picture(5).save(tmp_path / "letter.png")
    data = read_folder(tmp_path)
    assert _names(data) == ["good.png"]
    reasons = {path.name: reason for path, reason in data.set_aside}
    assert set(reasons) == {
        "empty.png",
        "text.jpg",
        "cut.jpg",
        "cut.png",
        "cut.webp",
        "moving.webp",
        "letter.png",
    }
    assert reasons["text.jpg"] == "no picture in a known format"
    assert reasons["moving.webp"] == "animated"
    assert reasons["letter.png"] == "the caption is not UTF-8 text"


def test_a_camera_file_with_several_pictures_counts_as_its_first(tmp_path: Path) -> None:
    path = _add(tmp_path, "a.jpg")
    _picture(0).save(path, "MPO", save_all=True, append_images=[_picture(1)])
    (image,) = read_folder(tmp_path).images
    assert load_pixels(image).size == (24, 16)


def test_a_picture_of_too_many_pixels_is_never_decoded(tmp_path: Path) -> None:
    _add(tmp_path, "good.png")
    for side in (8000, 16000):  # 64 million pixels; 256 million, where Pillow raises by itself
        content = io.BytesIO()
        Image.new("1", (side, side)).save(content, "PNG")
        (tmp_path / f"{side}.png").write_bytes(content.getvalue())
        (tmp_path / f"{side}.txt").write_text("1girl")
    data = read_folder(tmp_path)
    assert _names(data) == ["good.png"]
    assert {reason for _, reason in data.set_aside} == {"more than 50 million pixels"}


def test_captions_that_name_children_are_set_aside_and_counted(tmp_path: Path) -> None:
    _add(tmp_path, "a.png", "1girl, solo")
    _add(tmp_path, "b.png", "1girl, toddler")
    _add(tmp_path, "c.png", "a girl, 12 years old")
    (_add(tmp_path, "d.png")).write_bytes(b"")
    data = read_folder(tmp_path)
    assert _names(data) == ["a.png"]
    assert data.refused == 2
    assert "toddler" in dict((path.name, reason) for path, reason in data.set_aside)["b.png"]


def test_missing_captions_are_reported_all_at_once(tmp_path: Path) -> None:
    for number in range(5):
        _add(tmp_path, f"{number}.png", None if number else "1girl")
    with pytest.raises(ConfigError, match=r"4 of 5 pictures have no caption file \(1.png, 2.png"):
        read_folder(tmp_path)


def test_a_folder_that_is_missing_empty_or_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        read_folder(tmp_path / "none")
    with pytest.raises(ConfigError, match="has no pictures"):
        read_folder(tmp_path)
    (tmp_path / "deeper").mkdir()
    with pytest.raises(ConfigError, match=r"subfolders are not searched \(deeper\)"):
        read_folder(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        read_folder(_add(tmp_path, "a.png"))
    with pytest.raises(ConfigError, match="is not there"):
        read_folder(Path("x" * 400))


def test_a_folder_without_a_usable_picture_is_refused(tmp_path: Path) -> None:
    (_add(tmp_path, "a.png")).write_bytes(b"")
    with pytest.raises(ConfigError, match=r"none of 1 picture can be used \(a.png: "):
        read_folder(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    _picture(0).save(tmp_path / "a.png", exif=exif)
    (tmp_path / "a.txt").write_text("1girl")
    (image,) = read_folder(tmp_path).images
    pixels = load_pixels(image)
    assert pixels.mode == "RGB"
    assert pixels.size == (image.width, image.height)
    assert pixels.size == ((16, 24) if orientation >= 5 else (24, 16))
    with Image.open(image.path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(np.asarray(pixels), expected)


def test_a_damaged_exif_does_not_matter(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x011A] = 72.0
    content = io.BytesIO()
    _picture(0).save(content, "JPEG", exif=exif)
    whole = content.getvalue()
    entry = whole.index(b"Exif\0\0") + 16  # type of the first entry; 2 is text
    path = _add(tmp_path, "a.jpg")
    for place in range(entry, entry + 24):
        path.write_bytes(whole[:place] + b"\x02" + whole[place + 1 :])
        data = read_folder(tmp_path)
        assert load_pixels(data.images[0]).size == (data.images[0].width, data.images[0].height)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_every_mode_becomes_rgb_of_the_same_brightness(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.full((16, 24), 65535, dtype=np.uint16))
    else:
        picture = Image.new("RGB", (24, 16), "white").convert(mode)
    suffix = "jpg" if mode == "CMYK" else "png"
    picture.save(tmp_path / f"a.{suffix}")
    (tmp_path / "a.txt").write_text("1girl")
    (image,) = read_folder(tmp_path).images
    assert np.asarray(load_pixels(image)).min() >= 254


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (24, 16), (255, 0, 0, 0))
    picture.putpixel((0, 0), (255, 0, 0, 255))
    picture.save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("1girl")
    (image,) = read_folder(tmp_path).images
    pixels = np.asarray(load_pixels(image))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[1:].min() == 255
