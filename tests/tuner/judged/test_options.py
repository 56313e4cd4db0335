"""From the options of `tuner judge` to a study, without loading a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tuner.errors import ConfigError
from tuner.judged.files import Found, JudgedFile
from tuner.judged.options import JudgeOptions, judged_study, parse_strengths
from tuner.judged.prompts import read_prompt_file
from tuner.space.load import load_recorded, load_study
from tuner.space.suite import JudgedConfig
from tuner.space.write import to_yaml
from tuner.storage import StudyFolder

FILE = JudgedFile(Path("out/me-000001.safetensors"), "me-000001", "a" * 16, "me", 100)


def found(*files: JudgedFile) -> Found:
    return Found(files or (FILE,), (), Path("/models/out"))


def test_the_alias_of_the_files_goes_before_every_prompt_and_is_told() -> None:
    named = replace(FILE, alias="mi_cv", alias_from="ss_tag_frequency")
    study = judged_study(JudgeOptions("mannequin"), found(named))
    assert all(prompt.text.startswith("mi_cv, ") for prompt in study.config.suite.prompts)
    assert "ss_tag_frequency" in study.notes[0]
    assert study.config.judged is not None
    assert study.config.judged.without_alias


def test_an_option_counts_more_than_the_files_and_two_aliases_are_refused() -> None:
    first, other = replace(FILE, alias="one"), replace(FILE, name="b", alias="two")
    study = judged_study(JudgeOptions("mannequin", alias="ohwx"), found(first, other))
    assert study.config.suite.prompts[0].text == "ohwx, 1girl"
    with pytest.raises(ConfigError, match="several aliases"):
        judged_study(JudgeOptions("mannequin"), found(first, other))
    guesses = [replace(file, alias_from="ss_output_name") for file in (first, other)]
    assert judged_study(JudgeOptions("mannequin"), found(*guesses)).config.judged == JudgedConfig()
    plain = judged_study(JudgeOptions("mannequin", alias=""), found(first, other))
    assert plain.config.suite.prompts[0].text == "1girl"


def test_other_settings_are_another_study_and_more_files_are_not() -> None:
    first = judged_study(JudgeOptions("mannequin"), found())
    more = judged_study(JudgeOptions("mannequin"), found(FILE, replace(FILE, name="b")))
    assert first.config.study == more.config.study
    other = judged_study(JudgeOptions("mannequin", seeds=2), found())
    assert other.config.study != first.config.study


def test_the_record_is_read_back_and_trains_nothing(tmp_path: Path) -> None:
    config = judged_study(JudgeOptions("mannequin"), found()).config
    folder = StudyFolder(tmp_path / config.study)
    folder.create()
    folder.study_yaml.write_text(to_yaml(config))
    assert load_recorded(folder) == config
    with pytest.raises(ConfigError, match="tuner judge"):
        load_study(folder.study_yaml)


@pytest.mark.parametrize("text", ["", "0", "-1", "a", "0.5,,1", "9"])
def test_strengths_are_numbers_above_0(text: str) -> None:
    with pytest.raises(ConfigError, match="--strengths"):
        parse_strengths(text)


def test_strengths_are_sorted() -> None:
    assert parse_strengths("1.0, 0.6,0.6") == (0.6, 1.0)


def test_prompt_files_of_trainers(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text(
        "# sample prompts\n"
        "[trigger], 1girl, red dress <lora:x:0.8> --n low quality, blurry --w 512 --h 768 --d 1\n"
        "\n"
        "photo of a man --n low quality, blurry --w 512 --h 768 --d 2 --l 7.5 --s 28\n"
    )
    read = read_prompt_file(path, "mi_cv")
    assert [entry["text"] for entry in read.prompts] == [
        "mi_cv, 1girl, red dress",
        "photo of a man",
    ]
    assert [entry["sex"] for entry in read.prompts] == ["female", "male"]
    assert read.settings == {
        "negative": "low quality, blurry", "size": "512x768", "steps": 28, "guidance_scale": 7.5,
    }  # fmt: skip
    assert any("--d" in note for note in read.notes)


def test_a_prompt_about_a_child_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a schoolgirl in a park\n")
    with pytest.raises(ConfigError, match="names a child"):
        judged_study(JudgeOptions("mannequin", prompts=path), found())
    with pytest.raises(ConfigError, match="child"):
        judged_study(JudgeOptions("mannequin", alias="little_girl"), found())


def test_flags_that_are_no_numbers_and_empty_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("1girl --s many\n")
    with pytest.raises(ConfigError, match=r"prompts.txt:1: --s: found 'many'"):
        read_prompt_file(path, None)
    path.write_text("# nothing\n")
    with pytest.raises(ConfigError, match="has no prompts"):
        read_prompt_file(path, None)


def test_only_objectives_that_the_prompts_test_are_used(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a person in a red coat\n")
    config = judged_study(JudgeOptions("mannequin", prompts=path), found()).config
    assert config.objectives == ("pose", "quality")
