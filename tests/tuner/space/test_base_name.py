"""The name of a base says which kind it is, or what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.errors import ConfigError, MissingModelError
from tuner.space import load_study
from tuner.space.base_name import ParsedBase, parse_base
from tuner.space.templates import shipped_spaces


@pytest.mark.parametrize(
    ("text", "revision"), [("a/b", None), ("a/b@v1", "v1"), ("a/b@refs/pr/1", "refs/pr/1")]
)
def test_a_hub_id_may_have_a_revision(tmp_path: Path, text: str, revision: str | None) -> None:
    assert parse_base(text, tmp_path) == ParsedBase("hub", hub_id="a/b", revision=revision)


def test_a_path_that_exists_comes_before_a_hub_id(tmp_path: Path) -> None:
    (tmp_path / "a" / "b@v1").mkdir(parents=True)
    (tmp_path / "a" / "b.safetensors").touch()
    assert parse_base("a/b@v1", tmp_path) == ParsedBase("folder", tmp_path / "a" / "b@v1")
    file = ParsedBase("file", tmp_path / "a" / "b.safetensors")
    assert parse_base("a/b.safetensors", tmp_path) == file


def test_the_mannequin_is_a_word_beside_any_folder(tmp_path: Path) -> None:
    (tmp_path / "mannequin").mkdir()
    assert parse_base("mannequin", tmp_path) == ParsedBase("mannequin")


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert parse_base("~/model") == ParsedBase("folder", tmp_path / "model")


@pytest.mark.parametrize("text", ["w.ckpt", "w.pt", "w.pth", "a/w.bin", "w.pkl", "w.CKPT"])
def test_pickles_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"^base .*pickled weights can run code.*$"):
        parse_base(text, tmp_path)


@pytest.mark.parametrize(
    "text", ["nowhere", "./a/b", "~no-such-user/a", "a/b/c", "a/b@", "a/b.safetensors", "x" * 5000]
)
def test_where_nothing_fits_the_line_says_what_is_allowed(tmp_path: Path, text: str) -> None:
    with pytest.raises(MissingModelError, match=r"is not there; give .*OWNER/NAME@REVISION$"):
        parse_base(text, tmp_path)


def test_the_option_base_takes_a_revision() -> None:
    settings = ["train.resolution=512", "suite.size=512"]
    study = load_study(shipped_spaces()["pose"], base="owner/name@v1", set_values=settings)
    assert study.base == "owner/name@v1"
