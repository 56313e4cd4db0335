"""The shipped suite: its shape, and that the mannequin knows its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrics.contract import Prompt
from tuner.data import forbidden_words
from tuner.errors import ConfigError
from tuner.mannequin.figure import (
    ARM_POSES,
    BOTTOMS,
    CLOTH_COLOURS,
    HAIR_COLOURS,
    LEG_POSES,
    TOPS,
    Figure,
)
from tuner.space import SuiteConfig, load_study, to_yaml
from tuner.space.suite import PERSONS
from tuner.space.templates import shipped_spaces


def test_thirteen_prompts_ten_of_them_bare() -> None:
    assert len(PERSONS) == len({prompt.text for prompt in PERSONS}) == 13
    assert [prompt.sex for prompt in PERSONS[:10]] == ["female"] * 5 + ["male"] * 5
    assert [prompt.names_clothes for prompt in PERSONS] == [False] * 10 + [True] * 3


def test_what_a_prompt_says_of_itself_is_in_its_text() -> None:
    for prompt in PERSONS:
        assert ("girl" if prompt.sex == "female" else "boy") in prompt.text
        assert (prompt.framing == "full") == ("full body" in prompt.text)
        assert (prompt.framing == "half") == ("upper body" in prompt.text)
        garments = [word for word in (*TOPS, *BOTTOMS) if word in prompt.text]
        assert bool(garments) == prompt.names_clothes


def test_the_long_prompts_are_captions_of_the_mannequin() -> None:
    clothes = {f"{c} {g}" for c in CLOTH_COLOURS for g in (*TOPS, *BOTTOMS)}
    known = {"1girl", "1boy", *Figure("male").tags, *ARM_POSES, *LEG_POSES, *HAIR_COLOURS}
    known |= {"upper body", "short hair", "cluttered background", *clothes}
    for prompt in PERSONS[10:]:
        assert set(prompt.text.split(", ")) <= known


def test_no_prompt_names_a_child() -> None:
    assert all(not forbidden_words(prompt.text) for prompt in PERSONS)


def test_words_are_appended_to_each_prompt_once(tmp_path: Path) -> None:
    words = "masterpiece, best quality"
    config = load_study(shipped_spaces()["pose"], set_values=[f"suite.append={words}, "])
    assert [prompt.text for prompt in config.suite.prompts] == [
        f"{prompt.text}, {words}" for prompt in PERSONS
    ]
    assert [prompt.sex for prompt in config.suite.prompts] == [prompt.sex for prompt in PERSONS]
    (tmp_path / "study.yaml").write_text(to_yaml(config))
    assert load_study(tmp_path / "study.yaml") == config
    own = SuiteConfig(prompts=(Prompt("1girl"),), append="newest")
    assert own == SuiteConfig(prompts=(Prompt("1girl, newest"),))


@pytest.mark.parametrize(
    ("words", "line"),
    [("shota", "names a child or an age under 18 (shota)"), ("3", "found 3, allowed: text")],
)
def test_words_that_may_not_be_appended(words: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(shipped_spaces()["pose"], set_values=[f"suite.append={words}"])
    (only,) = str(caught.value).splitlines()
    assert f"suite.append: {line}" in only
