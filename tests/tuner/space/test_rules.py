"""What a search space may not say, and the one line that tells it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.written_base import change, write_folder
from tuner.errors import ConfigError
from tuner.space import StudyConfig, load_study
from tuner.space.parameters import Fixed
from tuner.space.templates import shipped_spaces

HEAD = "study: x\nbase: mannequin\ndata: mannequin\nbudget: {trials: 3, rungs: [5, 10]}\n"


def _study(tmp_path: Path, text: str = "", head: str = HEAD, **options: Any) -> StudyConfig:
    path = tmp_path / "x.yaml"
    path.write_text(head + text, encoding="utf-8")
    return load_study(path, **options)


def _errors(tmp_path: Path, text: str, head: str = HEAD, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        _study(tmp_path, text, head, **options)
    return [line.replace(f"{tmp_path}{os.sep}", "") for line in str(caught.value).splitlines()]


BAD = [
    ("trian: {}", "x.yaml:5: trian: unknown key; did you mean 'train'?"),
    (
        "train: {learning_rat: 1}",
        "x.yaml:5: train.learning_rat: unknown key; did you mean 'learnin",
    ),
    ("train: {rank: 0}", "train.rank: found 0, allowed: a whole number from 1 to 256"),
    ("train: {rank: '8'}", "train.rank: found '8', allowed: a whole number"),
    ("train: {rank: 8.0}", "train.rank: found 8.0, allowed: a whole number"),
    ("train: {rank: {low: 9, high: 3}}", "train.rank.low: found 9, allowed: less than high, whic"),
    ("train: {rank: {low: 3, high: 3}}", "which is 3; for one value write rank: 3"),
    (
        "train: {rank: {low: 3}}",
        "train.rank: found {low: 3}, allowed: {low, high, ...}; key 'high' is",
    ),
    ("train: {rank: {low: 1, high: 9.5}}", "train.rank.high: found 9.5, allowed: a whole"),
    (
        "train: {rank: {low: 1, high: 300}}",
        "train.rank.high: found 300, allowed: a whole number fr",
    ),
    ("train: {rank: {low: 1, high: 0}}", "1 to 256, above low, which is 1"),
    (
        "train: {alpha: {low: null, high: 1}}",
        "train.alpha.low: found null, allowed: a number in (0",
    ),
    ("train: {empty_prompt: {low: 1, high: 0}}", "less than high, which is 0.0; swap the two"),
    ("train: {rank: {low: 1, high: 8, step: 2}}", "train.rank.step: found 2, allowed: a divisor"),
    ("train: {rank: {low: 1, high: 8, step: 0}}", "train.rank.step: found 0, allowed: a divisor"),
    ("train: {rank: {low: 1, high: 8, step: x}}", "train.rank.step: found 'x', allowed: a whole"),
    (
        "train: {rank: {low: 1, high: 9, log: true, step: 2}}",
        "train.rank.step: found 2, allowed: no",
    ),
    ("train: {rank: {low: 1, high: 8, log: 1}}", "train.rank.log: found 1, allowed: true, false"),
    ("train: {rank: {low: 1, hihg: 8}}", "train.rank.hihg: unknown key; did you mean 'high'?"),
    ("train: {rank: {choices: []}}", "train.rank.choices: found [], allowed: a list of at least"),
    (
        "train: {rank: {choices: [4, 4]}}",
        "train.rank.choices[1]: found 4, allowed: each value once",
    ),
    ("train: {rank: {choices: [4, x]}}", "train.rank.choices[1]: found 'x', allowed: a whole"),
    ("train: {rank: {choices: [4], low: 1}}", "train.rank.low: unknown key"),
    ("train: {rank: [4, 8]}", "train.rank: found [4, 8], allowed: {choices: [4, 8]}"),
    (
        "train: {captions: {low: 1, high: 2}}",
        "train.captions: found {low: 1, high: 2}, allowed: a va",
    ),
    (
        "train: {captions: gendr}",
        "train.captions: found 'gendr', allowed: all, content, gender, gender+fram",
    ),
    (
        "train: {empty_prompt: {low: 0, high: 1, log: true}}",
        "empty_prompt.low: found 0.0, allowed: mo",
    ),
    (
        "train: {learning_rate: 1e-400}",
        "train.learning_rate: found '1e-400', allowed: a number in (0, 1]",
    ),
    ("train: {learning_rate: 1e999}", "train.learning_rate: found '1e999', allowed: a numb"),
    ("train: {learning_rate: yes}", "train.learning_rate: found 'yes', allowed: a number"),
    ("train: {alias: shota}", "train.alias: found 'shota', allowed: null or a made-up word"),
    ("train: {resolution: 512}", "train.resolution: found 512, allowed: 32 to 128 px"),
    (
        "train: {resolution: {low: 32, high: 64}}",
        "train.resolution.step: found null, allowed: a mul",
    ),
    (
        "train: {resolution: {low: 32, high: 256, step: 8}}",
        "train.resolution.high: found 256, allowe",
    ),
    ("train: {data: a}", "train.data: data is one folder"),
    ("train: 5", "train: found 5, allowed: training keys"),
    ("suite: {size: 512}", "suite.size: found 512, allowed: 32 to 128 px"),
    ("suite: {name: mine}", "x.yaml:5: suite.name: no shipped suite 'mine'"),
    (
        "suite: {prompts: [{text: a toddler}]}",
        "suite.prompts[0].text: names a child or an age under",
    ),
    (
        "suite: {prompts: [{text: a, sex: girl}]}",
        "suite.prompts[0].sex: found 'girl', allowed: femal",
    ),
    ("suite: {prompts: [{text: a, txt: b}]}", "suite.prompts[0].txt: unknown key; did you mean '"),
    ("suite: {prompts: [a]}", "suite.prompts[0]: found 'a', allowed: {text, sex"),
    ("suite: {seeds: no}", "suite.seeds: found 'no', allowed: a whole number"),
    (
        "constraints: {explict_rate: 0.1}",
        "constraints.explict_rate: unknown key; did you mean 'expli",
    ),
    (
        "constraints: {explicit_rate: 2}",
        "constraints.explicit_rate: found 2, allowed: a limit in [0",
    ),
    ("objectives: [pose, blur]", "objectives: found ['pose', 'blur'], allowed: a list"),
    ("start_from: [{rank: 17}]", "start_from[0].rank: found 17, allowed: 16 (fixed)"),
    ("start_from: [{rnk: 16}]", "start_from[0].rnk: unknown key; did you mean 'rank'?"),
    ("start_from: {rank: 16}", "start_from: found {rank: 16}, allowed: a list of starting points"),
    ("start_from: [16]", "start_from[0]: found 16, allowed: a starting point"),
    ("seed: 1.0", "seed: found 1.0, allowed: a whole number from 0"),
    ("seed: 1\nseed: 2", "x.yaml:5: seed: duplicate key on line 6, first on line 5"),
    ("judges: {gendermodel: x}", "judges.gendermodel: unknown key; did you mean 'gender_model'?"),
]


@pytest.mark.parametrize(("text", "expected"), BAD, ids=[text for text, _ in BAD])
def test_a_mistake_is_reported_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    (line,) = [each for each in _errors(tmp_path, text) if expected in each]
    assert line.startswith("x.yaml")
    assert len(_errors(tmp_path, text)) == 1


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    text = (
        "seed: x\nseed: 1\ntrain: {rank: 0, alpah: 1}\nstart_from: [{alias: 5}]\nsuite: {size: 9}"
    )
    lines = _errors(tmp_path, text, head="study: x\nbase: mannequin\n")
    expected = [
        "seed: dup",
        "train.rank",
        "train.alpah",
        "start_from[0].alias",
        "suite.size",
        "seed",
    ]
    expected += ["key 'data' is missing", "key 'budget' is missing"]
    for each in expected:
        assert any(each in line for line in lines), each


@pytest.mark.parametrize(
    ("parameter", "value", "fine"),
    [
        ("{low: 1e-4, high: 1e-2, log: true}", "1e-4", True),
        ("{low: 1e-4, high: 1e-2, log: true}", "2e-2", False),
        ("{low: 1e-4, high: 1e-2, log: true}", "'1e-3'", False),
        ("{low: 0.1, high: 0.5, step: 0.1}", "0.3", True),
        ("{low: 0.1, high: 0.5, step: 0.1}", "0.35", False),
        ("{choices: [0.1, 1]}", "1", True),
        ("{choices: [0.1, 1]}", "true", False),
        ("{choices: [0.1, 1]}", "0.2", False),
        ("0.5", "0.5", True),
        ("0.5", "0.6", False),
    ],
)
def test_recipes_lie_in_their_ranges(
    tmp_path: Path, parameter: str, value: str, fine: bool
) -> None:
    text = f"train:\n  learning_rate: {parameter}\nstart_from:\n  - learning_rate: {value}\n"
    if fine:
        _study(tmp_path, text)
    else:
        (line,) = _errors(tmp_path, text)
        assert line.startswith("x.yaml:8: start_from[0].learning_rate: found")


def test_whole_number_recipes_are_whole(tmp_path: Path) -> None:
    text = "train: {batch_size: {low: 2, high: 8, step: 2}}\nstart_from: [{batch_size: %s}]"
    _study(tmp_path, text % 4)
    for value in ("4.0", "3", "10", "null"):
        assert len(_errors(tmp_path, text % value)) == 1


def test_a_base_of_another_size_names_the_file_that_fits() -> None:
    spaces = shipped_spaces()
    with pytest.raises(ConfigError, match=r"pose_sd15.yaml for such bases") as small:
        load_study(spaces["pose"], base="owner/name")
    assert str(small.value).count("\n") == 3  # three choices and the suite
    with pytest.raises(ConfigError, match=r"pose.yaml for such bases"):
        load_study(spaces["pose_sd15"], base="mannequin")


def test_the_file_that_fits_is_named(tmp_path: Path) -> None:
    (line,) = _errors(tmp_path, "train: {resolution: 512}")
    assert "search_spaces/pose_sd15.yaml is for such sizes" in line
    (line,) = _errors(tmp_path, "train: {resolution: 64}", base="owner/name")
    assert "search_spaces/pose.yaml is for such sizes" in line
    (line,) = _errors(tmp_path, "train: {resolution: 1536}", base="owner/name")
    assert "person_sdxl.yaml is for such sizes, search_spaces/pose_sd15.yaml for such" in line


@pytest.mark.parametrize("size", [512, 768, 1024, 1536, 2048, "832x1216"])
def test_sizes_of_a_base_of_1024_pixels(tmp_path: Path, size: object) -> None:
    base = write_folder(tmp_path / "base")
    change(base / "unet" / "config.json", sample_size=256)  # its VAE has a factor of 4
    text = f"suite: {{size: {size}}}\ntrain: {{resolution: {size}}}"
    assert _study(tmp_path, text, base=str(base)).suite.size == size
    (line,) = _errors(tmp_path, "train: {resolution: 504}", base=str(base))
    assert "found 504, allowed: 512 to 2048 px" in line
    assert "person_sdxl.yaml for such bases" in line


def test_wrong_options_are_reported_by_their_name(tmp_path: Path) -> None:
    lines = _errors(tmp_path, "", trials=0, seed=-1, set_values=["train.rank=0", "sede=1"])
    assert [line.split(": found")[0].split(": unknown")[0] for line in lines] == [
        "--set train.rank=0: train.rank",
        "--trials: budget.trials",
        "--seed: seed",
        "--set sede=1: sede",
    ]


def test_several_folders_are_searched_by_name(tmp_path: Path) -> None:
    head = HEAD.replace("data: mannequin", "data: {a: one, b: mannequin}")
    config = _study(tmp_path, "train: {data: {choices: [a, b]}}", head)
    assert config.data_folders == {"a": str(tmp_path / "one"), "b": "mannequin"}
    assert "train: key 'data' is missing" in _errors(tmp_path, "train: {rank: 4}", head)[0]
    (line,) = _errors(tmp_path, "train: {data: c}", head)
    assert "train.data: found 'c', allowed: one of the names in data (a, b)" in line
    only = HEAD.replace("data: mannequin", "data: {a: one}")
    assert _study(tmp_path, "", only).train["data"] == Fixed("a")
