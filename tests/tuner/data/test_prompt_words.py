from __future__ import annotations

import pytest

from metrics.contract import Framing, Sex
from tuner.data.prompt_words import read_prompt
from tuner.space.suite import PERSONS


@pytest.mark.parametrize(
    ("text", "sex", "framing", "names_clothes"),
    [
        ("1girl, solo, full body", "female", "full", False),
        ("(1boy:1.3), upper_body", "male", "half", False),
        ("A photo of a Woman in a red dress", "female", None, True),
        ("a man, full-body shot, three-piece suit", "male", "full", True),
        ("1 girl, T-Shirts", "female", None, True),
        ("portrait of a lady, nude", "female", None, True),
        ("1girl, 1boy, full body, upper body", None, None, False),
        ("a man and a woman", None, None, False),
        ("2girls, full body", None, "full", False),
        ("two women on a bench", None, None, False),
        ("1girl in a crowd", None, None, False),
        ("6+boys", None, None, False),
        ("no humans, a dress on a hanger", None, None, True),
        ("1boy, men's shoes", "male", None, False),
        ("a man-made lake", None, None, False),
        ("<lora:girl-suit:0.8> mountains", None, None, False),
        ("humanoid, feminine, addressed, pursuit", None, None, False),
        ("", None, None, False),
    ],
)
def test_what_the_words_ask_for(
    text: str, sex: Sex | None, framing: Framing | None, names_clothes: bool
) -> None:
    read = read_prompt(text)
    assert (read.sex, read.framing, read.names_clothes) == (sex, framing, names_clothes)
    assert read.text == text


@pytest.mark.parametrize("prompt", PERSONS, ids=lambda prompt: prompt.text[:30])
def test_the_shipped_suite_is_read_as_it_is_written(prompt: object) -> None:
    assert read_prompt(prompt.text) == prompt
