"""Captions in every place they may lie: beside the picture, in one table, in a folder's name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.data import TrainingSet, read_folder
from tuner.data.folder import epoch
from tuner.errors import ConfigError


def _picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def _captions(data: TrainingSet) -> dict[str, str]:
    return {image.path.name: image.caption for image in data.images}


def _metadata(folder: Path, *entries: dict[str, str]) -> None:
    lines = "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    (folder / "metadata.jsonl").write_text(lines + "\n", encoding="utf-8")


def test_each_source_gives_its_caption_and_the_nearest_one_wins(tmp_path: Path) -> None:
    for seed, name in enumerate("abcd"):
        _picture(tmp_path / f"{name}.png", seed)
    (tmp_path / "a.txt").write_text("from txt")
    (tmp_path / "a.caption").write_text("not this")
    (tmp_path / "b.caption").write_text("from caption\n")
    _metadata(
        tmp_path,
        {"file_name": "b.png", "text": "not this"},
        {"file_name": "c.png", "text": " from métadata "},
        {"file_name": "d.png", "caption": ""},
        {"file_name": "e.png", "text": "of a picture that is not there"},
    )
    assert _captions(read_folder(tmp_path)) == {
        "a.png": "from txt",
        "b.png": "from caption",
        "c.png": "from métadata",
        "d.png": "",
    }


def test_a_caption_that_names_a_child_is_refused_from_every_source(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        _picture(tmp_path / f"{name}.png", seed)
    (tmp_path / "a.txt").write_text("1girl")
    (tmp_path / "b.caption").write_text("a toddler")
    _metadata(tmp_path, {"file_name": "c.png", "text": "1girl, 9 years old"})
    data = read_folder(tmp_path)
    assert list(_captions(data)) == ["a.png"]
    assert data.refused == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no JSON"),
        ("[" * 100_000, "line 2: no JSON"),
        ("[]", "line 2: write"),
        ('{"file_name": "a.png"}', "line 2: write"),
        ('{"text": "1girl"}', "line 2: write"),
        ('{"file_name": "a\\u0000.png", "text": "1girl"}', "line 2: write"),
        ('{"file_name": "a.png", "text": 3}', "line 2: write"),
    ],
)
def test_a_bad_line_of_metadata_is_reported_with_its_number(
    tmp_path: Path, line: str, message: str
) -> None:
    _picture(tmp_path / "a.png")
    text = '{"file_name": "a.png", "text": "1girl"}\n' + line
    (tmp_path / "metadata.jsonl").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_folder(tmp_path)


def test_metadata_without_some_pictures_names_those(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        _picture(tmp_path / f"{name}.png", seed)
    _metadata(tmp_path, {"file_name": "a.png", "text": "1girl"})
    with pytest.raises(ConfigError, match=r"1 of 2 pictures have no caption file \(b.png\)"):
        read_folder(tmp_path)


def test_kohyas_folders_give_repeats_and_a_caption_to_those_without(tmp_path: Path) -> None:
    _picture(tmp_path / "10_mi_cv woman" / "a.png", 0)
    (tmp_path / "10_mi_cv woman" / "a.txt").write_text("1girl, solo")
    _picture(tmp_path / "10_mi_cv woman" / "b.png", 1)
    _picture(tmp_path / "4_man" / "c.png", 2)
    _metadata(tmp_path, {"file_name": "4_man/c.png", "text": "1boy"})
    _picture(tmp_path / "no_number" / "d.png", 3)
    data = read_folder(tmp_path)
    assert _captions(data) == {"a.png": "1girl, solo", "b.png": "mi_cv woman", "c.png": "1boy"}
    assert [image.repeats for image in data.images] == [10, 10, 4]
    assert epoch(data.images) == (0,) * 5 + (1,) * 5 + (2,) * 2


def test_if_all_repeats_are_equal_an_epoch_has_each_picture_once(tmp_path: Path) -> None:
    for seed in range(3):
        _picture(tmp_path / "7_woman" / f"{seed}.png", seed)
    assert epoch(read_folder(tmp_path).images) == (0, 1, 2)


def test_repeats_change_the_hash(tmp_path: Path) -> None:
    folders = [tmp_path / "plain", tmp_path / "one" / "1_1girl", tmp_path / "two" / "2_1girl"]
    for folder in folders:
        (_picture(folder / "a.png")).with_suffix(".txt").write_text("1girl")
    plain, once, twice = (
        read_folder(folder).sha256 for folder in (folders[0], tmp_path / "one", tmp_path / "two")
    )
    assert plain == once != twice


def test_pictures_in_the_folder_itself_come_before_subfolders(tmp_path: Path) -> None:
    (_picture(tmp_path / "a.png")).with_suffix(".txt").write_text("1girl")
    _picture(tmp_path / "2023_holiday" / "b.png", 1)
    assert list(_captions(read_folder(tmp_path))) == ["a.png"]


@pytest.mark.parametrize("name", ["0_woman", "2023_holiday"])
def test_a_number_that_is_no_repeat_is_refused(tmp_path: Path, name: str) -> None:
    _picture(tmp_path / name / "a.png")
    with pytest.raises(ConfigError, match="repeats of each picture, allowed: 1 to 1000"):
        read_folder(tmp_path)


def test_a_folder_named_after_children_is_refused(tmp_path: Path) -> None:
    _picture(tmp_path / "10_toddler" / "a.png").with_suffix(".txt").write_text("1girl")
    _picture(tmp_path / "10_woman" / "b.png", 1)
    data = read_folder(tmp_path)
    assert list(_captions(data)) == ["b.png"]
    assert data.refused == 1
