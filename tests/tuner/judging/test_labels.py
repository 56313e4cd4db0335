from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuner.errors import ConfigError
from tuner.judging.labelling import labels
from tuner.judging.labelling.labels import FAULT_KEYS, Label, LabelTable, read_labels

HEAD = "file,wrong_limbs,unreadable_pose,undressed,picture_fault,sex\n"
FILES = ["a.png", "b.png", "c.png"]


def keys(text: str) -> Label:
    label = Label()
    for key in text:
        label = label.after(key)
    return label


@pytest.mark.parametrize(
    ("pressed", "faults", "sex"),
    [
        ("", None, None),
        ("1", set(), None),
        ("2", {"wrong_limbs"}, None),
        ("35", {"unreadable_pose", "picture_fault"}, None),
        ("14", {"undressed"}, None),
        ("231", set(), None),
        ("22", None, None),
        ("2f32", {"unreadable_pose"}, "female"),
        ("fm", None, "male"),
        ("ff", None, None),
        ("23m0", None, None),
    ],
)
def test_what_keys_mean(pressed: str, faults: set[str] | None, sex: str | None) -> None:
    label = keys(pressed)
    assert label.faults == faults
    assert label.sex == sex


def test_each_press_is_in_the_file_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    table = LabelTable(path, FILES)
    assert not path.exists()
    table.press(1, "2")
    assert path.read_text() == HEAD + "b.png,1,0,0,0,\n"
    table.press(1, "4")
    table.press(0, "1")
    table.press(2, "m")
    assert path.read_text() == HEAD + "a.png,0,0,0,0,\nb.png,1,0,1,0,\nc.png,,,,,male\n"
    assert os.listdir(tmp_path) == ["labels.csv"]
    again = LabelTable(path, FILES)
    assert again.labels() == table.labels() == [keys("1"), keys("24"), keys("m")]
    again.press(1, "0")
    assert path.read_text() == HEAD + "a.png,0,0,0,0,\nc.png,,,,,male\n"


def test_undo_goes_back_to_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    table = LabelTable(path, FILES)
    for index, key in [(0, "2"), (0, "3"), (2, "1"), (2, "1")]:
        table.press(index, key)
    assert table.undo() == (2, Label())  # the second `1` changed nothing
    assert table.undo() == (0, keys("2"))
    assert path.read_text() == HEAD + "a.png,1,0,0,0,\n"
    assert table.undo() == (0, Label())
    assert table.undo() is None
    assert path.read_text() == HEAD


def test_rows_of_other_pictures_and_odd_names_stay(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    odd = os.fsdecode(b'\xff, "quoted"\n.png')
    before = HEAD + "gone.png,0,1,0,0,female\n"
    path.write_text("\ufeff" + before, encoding="utf-8")  # as spreadsheets save it
    LabelTable(path, [odd]).press(0, "5")
    assert path.read_bytes() == before.encode() + b'"\xff, ""quoted""\n.png",0,0,0,1,\n'
    assert read_labels(path) == {"gone.png": keys("3f"), odd: keys("5")}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,limbs\na.png,1\n", "other columns"),
        (HEAD + "a.png,1,0,0,0\n", "line 2: is not a label"),
        (HEAD + "a.png,1,0,0,0,\nb.png,2,0,0,0,\n", "line 3: is not a label"),
        (HEAD + "a.png,1,,0,0,\n", "line 2: is not a label"),
        (HEAD + "a.png,1,0,0,0,girl\n", "line 2: is not a label"),
        (HEAD + ",1,0,0,0,\n", "line 2: is not a label"),
        (HEAD + "a.png,1,0,0,0,\na.png,1,0,0,0,\n", "line 3: names 'a.png' again"),
        ("x" * 200_000, "not a table of labels"),
    ],
)
def test_other_tables_are_refused_and_left(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=why) as caught:
        LabelTable(path, FILES)
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_text() == text


def test_a_missing_table_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv cannot be read: No such file"):
        read_labels(Path("nowhere.csv"))


def test_what_another_program_wrote_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    table = LabelTable(path, FILES)
    table.press(0, "1")
    theirs = HEAD + "a.png,1,1,1,1,male\n"
    path.write_text(theirs)
    with pytest.raises(ConfigError, match="changed by another program"):
        table.press(1, "1")
    assert path.read_text() == theirs
    assert table.labels()[1] == Label()


def test_a_write_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.csv"
    table = LabelTable(path, FILES)
    table.press(0, "1")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("tuner.storage.files.os.fsync", full)
        for change in (lambda: table.press(0, "2"), table.undo):
            with pytest.raises(ConfigError, match="cannot be written: No space left"):
                change()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["labels.csv"]
    assert table.labels()[0] == keys("1")
    assert table.undo() == (0, Label())


def test_nothing_is_written_after_the_end(tmp_path: Path) -> None:
    table = LabelTable(tmp_path / "labels.csv", FILES)
    table.close()
    with pytest.raises(ConfigError, match="stopped"):
        table.press(0, "1")
    assert not os.listdir(tmp_path)


def test_the_keys_are_those_of_the_faults() -> None:
    assert tuple(FAULT_KEYS.values()) == labels.FAULTS
    assert tuple("012345fm") == labels.KEYS
