"""The captions of every policy: what earlier versions gave, and lists, shuffling and dropout."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tuner.data import apply_policy
from tuner.data.captions import GENDER_TAGS, drawn_caption, policy_text, tags_of, training_caption
from tuner.data.quality_tags import is_quality
from tuner.space import TrainConfig, load_study, to_yaml

# ruff: noqa: RUF001  captions as they come
GOLDEN = [
    (
        "1girl, solo, full_body, standing, red shirt, (long_hair:0.98)",
        "1girl, solo, full_body, standing, red shirt, long_hair",
        "1girl, solo",
        "1girl, solo, full body",
        "mi_cv, 1girl, solo, full_body, standing, red shirt, long_hair",
    ),
    (
        "1girl:0.97, Solo:0.93, long hair:.88, (full_body:1.2), smile: 0.5",
        "1girl, Solo, long hair, full_body, smile",
        "1girl, solo",
        "1girl, solo, full body",
        "mi_cv, 1girl, Solo, long hair, full_body, smile",
    ),
    (
        "a woman in a red dress standing on a beach, 1girl, solo, red_dress, full body",
        "a woman in a red dress standing on a beach, 1girl, solo, red_dress, full body",
        "1girl, solo",
        "1girl, solo, full body",
        "mi_cv, a woman in a red dress standing on a beach, 1girl, solo, red_dress, full body",
    ),
    (
        "a man with a beard, wearing a suit.",
        "a man with a beard, wearing a suit.",
        "1boy",
        "1boy",
        "mi_cv, a man with a beard, wearing a suit.",
    ),
    (
        "two women and a man at a table",
        "two women and a man at a table",
        "multiple girls, 1boy",
        "multiple girls, 1boy",
        "mi_cv, two women and a man at a table",
    ),
    (
        "1GIRL,Solo\nUpper_Body\n\n, ,close-up",
        "1GIRL, Solo, Upper_Body, close-up",
        "1girl, solo",
        "1girl, solo, upper body, close-up",
        "mi_cv, 1GIRL, Solo, Upper_Body, close-up",
    ),
    (
        "1girl, 1girl, solo, :3, re:zero, 16:9, saber (fate), saber \\(fate\\), o_o, ^_^",
        "1girl, 1girl, solo, :3, re:zero, 16:9, saber (fate), saber \\(fate\\), o_o, ^_^",
        "1girl, solo",
        "1girl, solo",
        "mi_cv, 1girl, 1girl, solo, :3, re:zero, 16:9, saber (fate), saber \\(fate\\), o_o, ^_^",
    ),
    (
        "arafed woman  in\ta  hat, from behind, cowboy_shot",
        "arafed woman in a hat, from behind, cowboy_shot",
        "1girl",
        "1girl, cowboy shot",
        "mi_cv, arafed woman in a hat, from behind, cowboy_shot",
    ),
    (
        "multiple_girls, 2boys, 6+girls, head_out_of_frame",
        "multiple_girls, 2boys, 6+girls, head_out_of_frame",
        "multiple girls, 2boys, 6+girls",
        "multiple girls, 2boys, 6+girls, head out of frame",
        "mi_cv, multiple_girls, 2boys, 6+girls, head_out_of_frame",
    ),
    ("no humans, scenery", "no humans, scenery", "", "", "mi_cv, no humans, scenery"),
    ("", "", "", "", "mi_cv"),
    (" , , ", "", "", "", "mi_cv"),
    ("solo", "solo", "solo", "solo", "mi_cv, solo"),
    (
        "MI_CV, 1boy, portrait",
        "MI_CV, 1boy, portrait",
        "1boy",
        "1boy, portrait",
        "mi_cv, 1boy, portrait",
    ),
    ("mi cv, 1boy", "mi cv, 1boy", "1boy", "1boy", "mi_cv, mi cv, 1boy"),
    (
        "((1girl)), [solo], {full body}",
        "((1girl)), [solo], {full body}",
        "",
        "",
        "mi_cv, ((1girl)), [solo], {full body}",
    ),
    (
        "1girl (cosplay), (red shirt:1.1:0.3), (a:b:0.2)",
        "1girl (cosplay), red shirt:1.1, a:b",
        "",
        "",
        "mi_cv, 1girl (cosplay), red shirt:1.1, a:b",
    ),
    (
        "1girl,2girls,1boy,multiple boys,solo,close up,wide shot,very wide shot",
        "1girl, 2girls, 1boy, multiple boys, solo, close up, wide shot, very wide shot",
        "1girl, 2girls, 1boy, multiple boys, solo",
        "1girl, 2girls, 1boy, multiple boys, solo, close up, wide shot, very wide shot",
        "mi_cv, 1girl, 2girls, 1boy, multiple boys, solo, close up, wide shot, very wide shot",
    ),
    (
        "Frau im Kleid, Ganzkörper",
        "Frau im Kleid, Ganzkörper",
        "",
        "",
        "mi_cv, Frau im Kleid, Ganzkörper",
    ),
    ("１girl, solo", "１girl, solo", "solo", "solo", "mi_cv, １girl, solo"),
    (
        "photo of ladies, lower body; a gentleman",
        "photo of ladies, lower body; a gentleman",
        "multiple girls, 1boy",
        "multiple girls, 1boy",
        "mi_cv, photo of ladies, lower body; a gentleman",
    ),
]
"""Caption, then the results of `all`, `gender`, `gender+framing` and `all` with an alias."""


@pytest.mark.parametrize(("caption", "everything", "gender", "framing", "aliased"), GOLDEN)
def test_the_named_policies_give_what_they_always_gave(
    caption: str, everything: str, gender: str, framing: str, aliased: str
) -> None:
    assert apply_policy(caption, "all") == everything
    assert apply_policy(caption, "gender") == gender
    assert apply_policy(caption, "gender+framing") == framing
    assert apply_policy(caption, "none") == ""
    assert training_caption(caption, "all", "mi_cv") == aliased
    assert training_caption(caption, "none", "mi_cv") == "mi_cv"


@pytest.mark.parametrize("caption", [row[0] for row in GOLDEN])
def test_the_gender_tags_as_a_list_are_the_gender_policy(caption: str) -> None:
    listed = policy_text({"keep": sorted(tag.replace(" ", "_") for tag in GENDER_TAGS)})
    assert apply_policy(caption, listed) == apply_policy(caption, "gender")


TAGS = "a woman in a hat, 1girl:0.98, solo, long_hair, (red shirt:1.2), saber \\(fate\\), smile"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"keep": ["1girl", "Long Hair"]}, "1girl, long hair"),
        ({"keep": ["red_shirt", "saber (fate)"]}, "red shirt, saber (fate)"),
        ({"keep": ["2girls"]}, ""),
        ({"drop": [".*_hair", "SOLO", ".*hat.*"]}, "1girl, red shirt, saber \\(fate\\), smile"),
        (
            {"drop": ["red"]},
            "a woman in a hat, 1girl, solo, long_hair, red shirt, saber \\(fate\\), smile",
        ),
        ({"drop": [".* shirt", r"saber \(.*\)", "a woman.*"]}, "1girl, solo, long_hair, smile"),
    ],
)
def test_lists(policy: dict[str, list[str]], expected: str) -> None:
    assert apply_policy(TAGS, policy_text(policy)) == expected


def test_a_sentence_stands_for_the_gender_tags_that_are_kept() -> None:
    keep = policy_text({"keep": ["1girl", "smile"]})
    assert apply_policy("a woman and a man in the rain, smile", keep) == "1girl, smile"
    assert apply_policy("a woman, 2girls, smile", keep) == "smile"


@pytest.mark.parametrize(
    "policy",
    [
        "some",
        "keep:",
        "keep: []",
        "keep: 1girl",
        "drop: [3]",
        'drop: ["("]',
        'keep: ["toddler"]',
        {"keep": ["1girl"], "drop": ["solo"]},
        {"keep": "1girl"},
        {"hold": ["1girl"]},
        {},
        None,
        3,
    ],
)
def test_what_is_no_policy_is_refused(policy: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the line is the configuration's
        policy_text(policy)


def test_lists_in_a_search_space_survive_the_way_to_study_yaml(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    listed = "{choices: [all, {keep: [1girl, solo]}, {drop: ['.* hair']}]}"
    space.write_text(
        f"study: s\nbase: mannequin\ndata: mannequin\nbudget: {{rungs: [1]}}\n"
        f"train: {{captions: {listed}, shuffle_tags: {{choices: [true, false]}}}}\n"
        "start_from: [{captions: {keep: [1girl, solo]}}]\n"
    )
    config = load_study(space)
    assert config.start_from == ({"captions": 'keep: ["1girl", "solo"]'},)
    again = tmp_path / "study.yaml"
    again.write_text(to_yaml(config))
    assert load_study(again) == config
    changed = load_study(again, set_values=["train.captions={drop: [smile]}"])
    assert changed.train["captions"].value == 'drop: ["smile"]'  # type: ignore[union-attr]
    assert TrainConfig(captions={"drop": ["smile"]}).captions == 'drop: ["smile"]'  # type: ignore[arg-type]


def test_the_first_tags_stay_and_the_others_are_shuffled() -> None:
    text = "mi_cv, 1girl, a, b, c, d, e, f"
    drawn = {drawn_caption(text, 2, True, 0.0, random) for random in map(Random, range(30))}
    assert len(drawn) > 20
    assert all(caption.startswith("mi_cv, 1girl, ") for caption in drawn)
    assert {tuple(sorted(caption.split(", "))) for caption in drawn} == {
        tuple(sorted(text.split(", ")))
    }
    assert drawn_caption(text, 2, False, 0.0, Random(0)) == text
    assert drawn_caption(text, 9, True, 1.0, Random(0)) == text


def test_dropout_spares_the_first_and_takes_its_share_of_the_others() -> None:
    random, text = Random(0), ", ".join(f"tag{number}" for number in range(50))
    lengths = []
    for _ in range(200):
        tags = drawn_caption(text, 3, False, 0.3, random).split(", ")
        assert tags[:3] == ["tag0", "tag1", "tag2"]
        assert tags == sorted(tags, key=lambda tag: int(tag[3:]))
        lengths.append(len(tags) - 3)
    assert abs(sum(lengths) / 200 / 47 - 0.7) < 0.02
    assert drawn_caption(text, 3, True, 1.0, random) == "tag0, tag1, tag2"
    assert drawn_caption("", 1, True, 0.5, random) == ""


def test_tags_of_a_caption_are_plain_and_come_once() -> None:
    assert tags_of("1Girl:0.9, long_hair, Long Hair, saber \\(fate\\)") == (
        "1girl",
        "long hair",
        "saber (fate)",
    )


QUALITY = (
    "masterpiece, best_quality, very aesthetic, 1girl, solo, (absurdres:1.2), rating: general, "
    "red shirt, score_9, score_8_up, source_anime, newest, year 2023"
)


def test_content_is_all_without_the_tags_of_quality() -> None:
    assert apply_policy(QUALITY, "content") == "1girl, solo, red shirt"
    assert training_caption(QUALITY, "content", "mi_cv") == "mi_cv, 1girl, solo, red shirt"
    assert apply_policy(QUALITY, "all").startswith("masterpiece, best_quality, very aesthetic, 1g")
    assert TrainConfig(captions="content").captions == "content"


@pytest.mark.parametrize(
    "tag",
    [
        *("old", "old woman", "late", "early morning", "general (military)", "safe zone", "score"),
        *("masterpiece painting", "quality", "explicit lyrics", "year", "source", "recently", ""),
    ],
)
def test_tags_that_only_resemble_those_of_quality_are_content(tag: str) -> None:
    assert not is_quality(tag)


@pytest.mark.parametrize(
    "tag", ["Masterpiece", "worst_quality", "LOWRES", "score_4", "rating:explicit", "nsfw", "safe"]
)
def test_tags_of_quality_in_any_spelling(tag: str) -> None:
    assert is_quality(tag)


def test_tags_of_quality_are_neither_shuffled_nor_left_out_nor_kept_first() -> None:
    text = training_caption(f"{QUALITY}, a, b, c, d", "all", "mi_cv")
    end = (
        "masterpiece, best_quality, very aesthetic, absurdres, rating: general, score_9, "
        "score_8_up, source_anime, newest, year 2023"
    )
    drawn = {drawn_caption(text, 2, True, 0.0, random) for random in map(Random, range(20))}
    assert len(drawn) > 10
    assert all(caption.startswith("mi_cv, 1girl, ") for caption in drawn)
    assert all(caption.endswith(f", {end}") for caption in drawn)
    assert drawn_caption(text, 2, True, 1.0, Random(0)) == f"mi_cv, 1girl, {end}"
