"""The name of a base says which kind it is, or what is allowed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from metrics.detectors.models import cache_folder
from tuner.cli.app import expanded
from tuner.errors import ConfigError, MissingModelError
from tuner.judging.models import judge_settings
from tuner.space import load_study
from tuner.space.base_name import ParsedBase, parse_base
from tuner.space.paths import data_path, model_path
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


@pytest.mark.parametrize("text", ["a/b--c", "a/b..c", "a/b.git", "a/b-", "a./b", "a--b/c@v1"])
def test_ids_that_no_hub_has_are_refused_by_their_spelling(text: str) -> None:
    with pytest.raises(ConfigError, match=f"^base {re.escape(text)}: no hub has such an id"):
        parse_base(text)
    settings = ["train.resolution=512", "suite.size=512"]
    assert load_study(shipped_spaces()["pose"], base=text, set_values=settings).base == text


def test_a_name_close_to_another_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "dreamer_v8").mkdir()
    for text, near in (("mannequinn", "mannequin"), ("./dreamer_v7", "dreamer_v8")):
        with pytest.raises(MissingModelError, match=rf"is not there; did you mean '{near}'\?"):
            parse_base(text, tmp_path)


def test_a_base_that_is_not_there_hides_no_problem_behind_its_size() -> None:
    study = load_study(shipped_spaces()["pose"], base="mannequinn")
    with pytest.raises(MissingModelError, match="did you mean 'mannequin'"):
        parse_base(study.base)


@pytest.mark.parametrize("text", ["~photos", "~$draft", "~no-such-user/x"])
def test_a_home_sign_that_names_no_user_is_part_of_the_path(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = str(tmp_path / text)
    assert data_path(text, tmp_path) == model_path(text, tmp_path) == place
    assert judge_settings(text, text, text).copy_model == place
    monkeypatch.setenv("TUNER_HOME", text)
    assert cache_folder() == Path(text) / "models"
    Path("x.yaml").write_text(f"extends: {text}\n")
    with pytest.raises(ConfigError, match="no such file"):
        load_study("x.yaml")


def test_a_pipe_and_a_broken_link_are_told_from_a_base_that_is_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "base").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="found neither a file nor a folder, allowed"):
        parse_base("pipe.safetensors", tmp_path)
    with pytest.raises(ConfigError, match="found a link to a missing place"):
        parse_base("base", tmp_path)


def test_the_home_folder_is_expanded_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TUNER_HOME", "~/cache")
    (tmp_path / "pose.yaml").write_text(shipped_spaces()["pose"].read_text())
    (tmp_path / "x.yaml").write_text("extends: ~/pose.yaml\n")
    place = str(tmp_path / "x")
    settings = ["judges.gender_model=~/x", "data=~/x"]
    study = load_study(tmp_path / "x.yaml", set_values=settings)
    assert study.data == study.judges.gender_model == place
    assert judge_settings("~/x", None).gender_model == place
    assert cache_folder() == tmp_path / "cache" / "models"
    words = ["--studies=~/x", "~/x", "--set", "data=~/x", "~photos"]
    assert expanded(words) == [f"--studies={place}", place, *words[2:]]
