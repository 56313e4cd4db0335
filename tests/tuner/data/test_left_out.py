"""Files of a data folder that are not used: each is counted, named and has its reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.data import TrainingSet, read_folder
from tuner.data.inventory.summary import counts, remarks
from tuner.errors import ConfigError


def _pictures(folder: Path, names: str, caption: str | None = "1girl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names.split()):
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
        if caption is not None:
            (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")
    return folder


def _aside(data: TrainingSet) -> dict[str, str]:
    return {path.name: reason for path, reason in data.set_aside}


def _said(data: TrainingSet) -> str:
    return "\n".join([counts(data), *remarks(data, {})])


def test_a_folder_without_anything_odd_has_no_remark(tmp_path: Path) -> None:
    data = read_folder(_pictures(tmp_path, "a.png b.png"))
    assert remarks(data, {}) == []
    assert counts(data) == "2 pictures to train on, 0 held out; captions: .txt 2"


def test_folders_beside_kohyas_are_named_with_their_pictures(tmp_path: Path) -> None:
    _pictures(tmp_path / "10_mi woman", "a.png b.png")
    _pictures(tmp_path / "20 woman", "a.png b.jpg c.webp")
    _pictures(tmp_path / "woman_10" / "deeper", "a.png")
    _pictures(tmp_path / "10_mi woman" / "more", "a.png")
    _pictures(tmp_path / ".hidden", "a.png b.png")
    (tmp_path / "logs").mkdir()
    data = read_folder(tmp_path)
    assert "found in 10_mi woman 2; captions: .txt 2" in counts(data)
    (line,) = remarks(data, {})
    assert "not named like 10_NAME: 4 (20 woman: 3, woman_10)" in line
    assert "folders that are not searched: 1 (10_mi woman/more)" in line
    assert "hidden pictures: 2 (.hidden: 2)" in line
    assert "logs" not in line


def test_folders_below_pictures_are_named(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png")
    _pictures(tmp_path / "2023_holiday", "b.png c.png")
    assert "not searched: 2 (2023_holiday: 2)" in _said(read_folder(tmp_path))


def test_pictures_beside_kohyas_folders_are_refused(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png b.png")
    _pictures(tmp_path / "10_woman", "c.png")
    message = r"2 pictures of its own \(a.png, ...\) and folders named like 10_NAME \(10_woman: 1\)"
    with pytest.raises(ConfigError, match=message):
        read_folder(tmp_path)


def test_links_that_lead_back_are_searched_once(tmp_path: Path) -> None:
    _pictures(tmp_path / "1_woman", "a.png")
    (tmp_path / "5_all").symlink_to(".")
    (tmp_path / "1_woman" / "up").symlink_to("..")
    data = read_folder(tmp_path)
    assert len(data.images) == 1
    assert remarks(data, {}) == []


def test_links_without_a_target_and_pipes_are_set_aside(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png b.png")
    (tmp_path / "gone.png").symlink_to("/nowhere/gone.png")
    (tmp_path / "one.png").symlink_to("two.png")
    (tmp_path / "two.png").symlink_to("one.png")
    os.mkfifo(tmp_path / "pipe.png")
    for stem in ("gone", "one", "two", "pipe"):
        (tmp_path / f"{stem}.txt").write_text("1girl")
    (tmp_path / "b.txt").unlink()
    (tmp_path / "b.txt").symlink_to("/nowhere/b.txt")
    data = read_folder(tmp_path)
    assert [image.path.name for image in data.images] == ["a.png"]
    assert _aside(data) == {
        "b.png": "the caption b.txt: a link to a missing file",
        "gone.png": "a link to a missing file",
        "one.png": "a link that leads back to itself",
        "two.png": "a link that leads back to itself",
        "pipe.png": "no regular file",
    }
    assert "5 set aside (b.png: the caption b.txt: a link" in counts(data)


def test_captions_that_are_not_read_are_named(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png b.png c.png d.png")
    for name in ("a.caption", "b.caption", "c.json", "d.captions", "lost.txt", "meta.csv"):
        (tmp_path / name).write_text("{}")
    (line,) = remarks(read_folder(tmp_path), {})
    assert "beside another one, which is read instead: 2 (a.caption, b.caption)" in line
    assert "only .txt and .caption are: 2 (c.json, d.captions)" in line
    assert "without a picture of their name: 1 (lost.txt)" in line
    assert "only metadata.jsonl is: 1 (meta.csv)" in line


def test_suffixes_and_accents_in_other_spellings_fit(tmp_path: Path) -> None:
    _pictures(tmp_path, "A.PNG für.png", None)
    (tmp_path / "A.TXT").write_bytes(b"\xef\xbb\xbf1girl\r\n")
    (tmp_path / "fu\u0308r.txt").write_text("1boy")
    data = read_folder(tmp_path)
    assert [image.caption for image in data.images] == ["1girl", "1boy"]
    assert remarks(data, {}) == []


@pytest.mark.parametrize("name", ["./a.png", ".\\a.png", "photos/a.png", "photos\\a.png", "ABS"])
def test_names_in_metadata_may_be_written_in_other_ways(tmp_path: Path, name: str) -> None:
    folder = _pictures(tmp_path / "photos", "a.png", None)
    line = {"file_name": str(folder / "a.png") if name == "ABS" else name, "text": "1girl"}
    (folder / "metadata.jsonl").write_bytes(json.dumps(line).encode() + b"\r" + b"\n\r")
    assert [image.caption for image in read_folder(folder).images] == ["1girl"]


def _metadata(folder: Path, *names: str) -> None:
    lines = [json.dumps({"file_name": name, "text": "1girl"}) for name in names]
    (folder / "metadata.jsonl").write_text("\n".join(lines))


def test_metadata_that_fits_nothing_is_refused_with_a_right_name(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png b.png", None)
    _metadata(tmp_path, "images/a.png", "images/b.png")
    with pytest.raises(ConfigError) as caught:
        read_folder(tmp_path)
    assert str(caught.value).endswith(
        "2 of 2 lines of metadata.jsonl name no picture here; the first is images/a.png, write "
        "names as in a.png"
    )


def test_lines_of_metadata_that_are_not_read_are_counted(tmp_path: Path) -> None:
    _pictures(tmp_path / "1_woman", "a.png b.png", None)
    (tmp_path / "1_woman" / "a.txt").write_text("1girl")
    _metadata(tmp_path / "1_woman", "a.png", "a.png", "\ud83d.png")
    data = read_folder(tmp_path)
    assert "captions: .txt 1, folder name 1" in counts(data)
    (line,) = remarks(data, {})
    assert "name no picture: 1 (1_woman/metadata.jsonl, the first: \\ud83d.png)" in line
    assert "repeat a name, the last one is read: 1" in line
    assert "with a caption file, which is read instead: 1" in line


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1girl, solo".encode("utf-16-le"), "NUL characters, as UTF-16 has"),
        ("1girl, solo".encode("utf-16"), "not UTF-8 text"),
        ("1girl, solo".encode("utf-32-be"), "NUL characters"),
        (b"1girl \xed\xa0\xbd", "not UTF-8 text"),
    ],
)
def test_captions_that_are_no_text_are_set_aside(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    _pictures(tmp_path, "a.png b.png")
    (tmp_path / "b.txt").write_bytes(content)
    assert reason in _aside(read_folder(tmp_path))["b.png"]


def test_half_a_character_in_metadata_is_set_aside(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png b.png", None)
    lines = ['{"file_name": "a.png", "text": "1girl"}', '{"file_name": "b.png", "text": "\\ud83d"}']
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert "half a character" in _aside(read_folder(tmp_path))["b.png"]


@pytest.mark.parametrize(("mode", "suffix"), [("RGBA", "png"), ("LA", "png"), ("RGBA", "webp")])
def test_wholly_transparent_pictures_are_set_aside(tmp_path: Path, mode: str, suffix: str) -> None:
    _pictures(tmp_path, "a.png")
    invisible = Image.new("RGBA", (12, 8), (200, 30, 40, 0)).convert(mode)
    invisible.save(tmp_path / f"b.{suffix}", lossless=True)
    (tmp_path / "b.txt").write_text("1girl")
    assert "wholly transparent" in _aside(read_folder(tmp_path))[f"b.{suffix}"]


def test_transparent_palettes_and_bitmaps_are_set_aside(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png b.png")
    Image.new("P", (12, 8), 0).save(tmp_path / "b.png", transparency=0)
    size, masks = 12 * 8 * 4, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    words = [124, 12, 8, 1 | 32 << 16, 3, size, 0, 0, 0, 0, *masks, *[0] * 17]
    head = b"".join(word.to_bytes(4, "little") for word in words)
    start = b"BM" + b"".join(n.to_bytes(4, "little") for n in (14 + 124 + size, 0, 14 + 124))
    (tmp_path / "c.bmp").write_bytes(start + head + b"\x10\x80\xf0\0" * (12 * 8))
    (tmp_path / "c.txt").write_text("1girl")
    assert set(_aside(read_folder(tmp_path))) == {"b.png", "c.bmp"}


def test_odd_pictures_and_captions_are_named(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png b.png b.jpg c.png d.png e.png f.png")
    Image.new("RGB", (12, 8), "red").save(tmp_path / "a.png")
    Image.new("RGBA", (12, 8), (255, 255, 255, 128)).save(tmp_path / "f.png")
    (tmp_path / "c.txt").write_text(" , \n")
    (tmp_path / "d.txt").write_text("1girl\uff0csolo\u3001(hat\uff1a1.2)", encoding="utf-8")
    (tmp_path / "e.txt").write_bytes(b"1girl\rsolo")
    (line,) = remarks(read_folder(tmp_path), {tmp_path / "d.png": 300})
    assert "pictures of one colour: 2 (a.png, f.png)" in line
    assert "empty captions: 1 (c.png)" in line
    assert "share a caption file with one of the same name: 2 (b.jpg, b.png)" in line
    assert "full-width commas or brackets, read like half-width ones: 1 (d.png)" in line
    assert "line ends of old Macs (CR), read like commas: 1 (e.png)" in line
    assert "captions that are cut: 1 (d.png: 300 tokens)" in line


def test_pictures_under_another_name_are_set_aside(tmp_path: Path) -> None:
    _pictures(tmp_path, "a.png b.png c.jpg d.webp")
    (tmp_path / "b.png").rename(tmp_path / "b")
    (tmp_path / "c.jpg").rename(tmp_path / "c.jpg_large")
    (tmp_path / "d.webp").rename(tmp_path / "d.part")
    (tmp_path / "e.psd").write_bytes(b"8BPS")
    reasons = _aside(read_folder(tmp_path))
    assert reasons["b"] == "a PNG picture by its content; name it like one"
    assert reasons["c.jpg_large"].startswith("a JPEG picture")
    assert reasons["d.part"].startswith("a WebP picture")
    assert reasons["e.psd"] == "psd is not read; convert it to png or jpg"
