"""The strict YAML grammar, `extends` and `--set`, without the meaning of any key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuner.errors import ConfigError
from tuner.space.file import MAX_BYTES, assignment, load_tree, overlay, parse, plain_scalar
from tuner.space.paths import absolute_paths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("-5", -5),
        ("0", 0),
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("1.0e-4", 1e-4),
        (".5", 0.5),
        ("5.", 5.0),
        ("+1.5", 1.5),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("True", "True"),
        ("12:30:45", "12:30:45"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("2026-11-21", "2026-11-21"),
        ("512x768", "512x768"),
        ("e5", "e5"),
        (".", "."),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_plain_words(text: str, expected: object) -> None:
    value = plain_scalar(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("text", ["'8'", '"8"', "|-\n  8"])
def test_quoted_words_are_text(text: str) -> None:
    assert parse(f"a: {text}", "x")[0] == {"a": "8"}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse("{1: a, null: b, on: c, 1.5: d}", "x")[0] == {
        "1": "a",
        "null": "b",
        "on": "c",
        "1.5": "d",
    }


def test_aliases_may_be_used() -> None:
    assert parse("a: &x [1, 2]\nb: *x", "x")[0] == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system [ls]", r"^f:1:4: tags are not allowed"),
        ("a: !!str 5", "tags are not allowed"),
        ("a: !x 5", "tags are not allowed"),
        ("a: &x [*x]", "too many values"),
        ("a: [1", r"^f:1:6: while parsing a flow sequence"),
        ("a: 1\n\tb: 2", r"^f:2:1: "),
        ("a: 1\n---\nb: 2", "another document"),
        ("? [a, b]\n: 1", "a key must be a word"),
        ("a: *x", "undefined alias"),
        ('a: "\\ud800"', "half a character"),
        ("a: \x07", "unacceptable character"),
        ("a: " + "[" * 3000, "deeper than 20 levels"),
        ("a: &x 1\nb: [" + "*x, " * 101 + "]", "more than 100 aliases"),
        (
            "a: &a [1,1,1,1,1,1,1,1]\n"
            + "".join(
                f"{new}: &{new} [{','.join([f'*{old}'] * 8)}]\n"
                for old, new in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            "too many values",
        ),
    ],
)
def test_bad_yaml_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(text, "f")
    assert "\n" not in str(caught.value)


def test_duplicate_keys_are_reported_with_both_lines() -> None:
    _, tree = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n", "f")
    assert [tree.line(problem) for problem in tree.problems] == [
        "f:2: b.c: duplicate key on line 2, first on line 2",
        "f:1: a: duplicate key on line 3, first on line 1",
    ]


def test_origins_are_lines() -> None:
    _, tree = parse("a:\n  b:\n    - 1\n    - 2\n", "f")
    assert tree.origin(("a", "b", 1)) == "f:4"
    assert tree.origin(("a", "b", 1, "deeper")) == "f:4"
    assert tree.origin(("z",)) == "f"


def test_assignments_nest_and_use_the_grammar() -> None:
    assert assignment("train.rank=8").values == {"train": {"rank": 8}}
    assert assignment("train.alias=").values == {"train": {"alias": None}}
    assert assignment("a={choices: [1, x=y]}").values == {"a": {"choices": [1, "x=y"]}}


@pytest.mark.parametrize("text", ["rank", "=8", "train.=8", ".x=1", "", "a=[1"])
def test_bad_assignments(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set "):
        assignment(text)


def test_overlay_joins_sections_and_replaces_parameters_whole() -> None:
    under, over = assignment("a=1"), assignment("a=1")
    under.values = {"train": {"rank": {"low": 1, "high": 8}, "alpha": 2}, "data": {"x": "1"}}
    over.values = {"train": {"rank": {"choices": [1]}}, "data": {"y": "2"}}
    assert overlay(under, over).values == {
        "train": {"rank": {"choices": [1]}, "alpha": 2},
        "data": {"y": "2"},
    }


def test_extends_lays_files_over_one_another(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.yaml").write_text("study: a\ndata: photos\ntrain: {rank: 1, alpha: 2}\n")
    (tmp_path / "middle.yaml").write_text("extends: base.yaml\ntrain:\n  rank: 3\n")
    top = tmp_path / "deep" / "top.yaml"
    top.write_text("extends: ../middle.yaml\nbase: weights\nstudy: c\n")
    tree = load_tree(top)
    assert tree.values == {
        "study": "c",
        "base": str(tmp_path / "deep" / "weights"),
        "data": str(tmp_path / "photos"),
        "train": {"rank": 3, "alpha": 2},
    }
    assert tree.origin(("train", "rank")).endswith("middle.yaml:3")
    assert tree.origin(("train", "alpha")).endswith("base.yaml:3")
    assert tree.origin(("study",)).endswith("top.yaml:3")


def test_extends_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"circle or too deep: a.yaml -> b.yaml -> a.yaml"):
        load_tree(tmp_path / "a.yaml")


def test_a_mended_duplicate_of_an_extended_file_still_counts(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("seed: 1\nseed: 2\nstudy: x\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\nstudy: y\n")
    assert len(load_tree(tmp_path / "b.yaml").problems) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# only a comment", "is empty"),
        (b"[1, 2]", r"holds \[1, 2\]"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: " + b"x" * MAX_BYTES, "larger than 1 MB"),
    ],
)
def test_files_that_are_no_search_space(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_tree(path)


def test_a_missing_file_offers_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "pose.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match=r"no such file; did you mean 'pose.yaml'"):
        load_tree(tmp_path / "poes.yaml")
    with pytest.raises(ConfigError, match="is no file"):
        load_tree(tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        load_tree(tmp_path / ("x" * 400))


@pytest.mark.parametrize(
    ("model", "expected"),
    [("mannequin", "mannequin"), ("models/yolo", "{}/models/yolo"), ("../x.pt", "{}/../x.pt")],
)
def test_person_detectors_are_the_mannequin_s_or_paths(
    tmp_path: Path, model: str, expected: str
) -> None:
    judges = {"person_model": model, "gender_model": "a/b", "copy_model": "./sscd.safetensors"}
    values: dict[str, object] = {"judges": judges}
    absolute_paths(values, tmp_path)
    wanted = expected.format(tmp_path)
    person = wanted if wanted == "mannequin" else os.path.abspath(wanted)
    copied = str(tmp_path / "sscd.safetensors")
    assert values["judges"] == {"person_model": person, "gender_model": "a/b", "copy_model": copied}


def test_the_face_is_a_word_unless_there_is_such_a_folder(tmp_path: Path) -> None:
    values: dict[str, object] = {"judges": {"gender_model": "face"}}
    absolute_paths(values, tmp_path)
    assert values["judges"] == {"gender_model": "face"}
    (tmp_path / "face").mkdir()
    absolute_paths(values, tmp_path)
    assert values["judges"] == {"gender_model": str(tmp_path / "face")}


def test_models_of_optional_judges_are_hub_ids_or_paths(tmp_path: Path) -> None:
    judges = {"pose_model": "pose.pt", "parser_model": "owner/parser", "vlm": "./vlm"}
    values: dict[str, object] = {"judges": judges}
    absolute_paths(values, tmp_path)
    pose, vlm = str(tmp_path / "pose.pt"), str(tmp_path / "vlm")
    assert values["judges"] == {"pose_model": pose, "parser_model": "owner/parser", "vlm": vlm}


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("mannequin", "mannequin"),
        ("owner/name", "owner/name"),
        ("owner/name@v1", "owner/name@v1"),
        ("owner/name@refs/pr/1", "owner/name@refs/pr/1"),
        ("./owner/name@v1", "{folder}/owner/name@v1"),
        ("owner/name.safetensors", "{folder}/owner/name.safetensors"),
        ("model.safetensors", "{folder}/model.safetensors"),
        ("./owner/name", "{folder}/owner/name"),
        ("here", "{folder}/here"),
        ("owner/here", "{folder}/owner/here"),
        ("/elsewhere/model", "/elsewhere/model"),
        ("a/b/c", "{folder}/a/b/c"),
    ],
)
def test_bases_are_words_hub_ids_or_paths(tmp_path: Path, base: str, expected: str) -> None:
    (tmp_path / "owner" / "here").mkdir(parents=True)
    (tmp_path / "x.yaml").write_text(f"base: {base}\n")
    assert load_tree(tmp_path / "x.yaml").values["base"] == expected.format(folder=tmp_path)
