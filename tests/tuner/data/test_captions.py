"""Caption policies on tagger captions, sentences and both."""

from __future__ import annotations

import pytest

from tuner.data import apply_policy
from tuner.data.captions import training_caption

TAGS = "1girl, solo, full_body, standing, red shirt, (long_hair:0.98)"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("all", "1girl, solo, full_body, standing, red shirt, long_hair"),
        ("gender", "1girl, solo"),
        ("gender+framing", "1girl, solo, full body"),
        ("none", ""),
    ],
)
def test_each_policy(policy: str, expected: str) -> None:
    assert apply_policy(TAGS, policy) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("1GIRL,Solo", "1girl, solo"),
        ("multiple_girls\n2boys", "multiple girls, 2boys"),
        ("(1boy:0.99), (solo:1)", "1boy, solo"),
        ("1boy:0.99", "1boy"),
        ("1girl, 1girl", "1girl"),
        ("6+girls", "6+girls"),
        ("1other", ""),
        ("no humans", ""),
        ("", ""),
        (" , ,", ""),
        ("a woman in a red dress", "1girl"),
        ("A Man standing", "1boy"),
        ("a man and a woman", "1girl, 1boy"),
        ("two women on a beach", "multiple girls"),
        ("a woman in a hat, solo, red dress", "1girl, solo"),
        ("a photo of a man with a woman behind, 1boy, solo", "1boy, solo"),
        ("a romance, human", ""),
    ],
)
def test_gender_tags(caption: str, expected: str) -> None:
    assert apply_policy(caption, "gender") == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("1girl, upper_body", "1girl, upper body"),
        ("cowboy shot, 1boy", "cowboy shot, 1boy"),
        ("1girl, close-up", "1girl, close-up"),
        ("portrait", "portrait"),
        ("a full body photo of a woman", "1girl"),
    ],
)
def test_framing_tags(caption: str, expected: str) -> None:
    assert apply_policy(caption, "gender+framing") == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("1girl\uff0csolo\u3001hat\uff1bred shirt", "1girl, solo, hat, red shirt"),
        ("1girl\rsolo\r\nhat\u2028red shirt", "1girl, solo, hat, red shirt"),
        ("\uff081girl\uff1a1.2\uff09, hat\uff1a0.9", "1girl, hat"),
        ("(1girl, red hat:1.2), solo", "1girl, red hat, solo"),
        ("((1girl, hat:1.2), solo:1.1)", "1girl, hat, solo"),
        ("((hat:1.2)), (saber (fate):1.1)", "hat, saber (fate)"),
        ("(hat, solo), (1girl", "(hat, solo), (1girl"),
        ("a photo (at 12:30) of her", "a photo (at 12:30) of her"),
        ("saber\uff08fate\uff09", "saber\uff08fate\uff09"),
        ("1girl; solo", "1girl; solo"),
    ],
)
def test_separators_and_weights_of_other_keyboards_and_prompts(caption: str, expected: str) -> None:
    assert apply_policy(caption, "all") == expected


@pytest.mark.parametrize(
    "caption",
    [
        "(a," * 5000,
        "(" * 9000 + ":1.2)" * 2000,
        "(" * 9000 + ")" * 9000,
        "(" * 2000 + "a, b:1)" * 2000,
    ],
    ids=["commas", "weights", "pairs", "nested"],
)
def test_a_caption_of_brackets_alone_is_read_quickly(caption: str) -> None:
    assert apply_policy(caption, "all")


@pytest.mark.parametrize("tag", [":3", ":d", "re:zero", "16:9", "saber (fate)", "o_o"])
def test_what_is_no_score_stays(tag: str) -> None:
    assert apply_policy(f"1girl, {tag}", "all") == f"1girl, {tag}"


@pytest.mark.parametrize(
    ("policy", "alias", "expected"),
    [
        ("gender", "mi_cv", "mi_cv, 1girl, solo"),
        ("none", "mi_cv", "mi_cv"),
        ("none", None, ""),
        ("gender", None, "1girl, solo"),
    ],
)
def test_the_alias_comes_first(policy: str, alias: str | None, expected: str) -> None:
    assert training_caption(TAGS, policy, alias) == expected


def test_an_alias_in_the_caption_is_not_doubled() -> None:
    assert training_caption("MI_CV, 1girl", "all", "mi_cv") == "mi_cv, 1girl"
