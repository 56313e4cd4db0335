"""Values, names, patterns and numbers of the wrong kind: one line each, with the nearest word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tuner.errors import ConfigError
from tuner.space import StudyConfig, SuiteConfig, TrainConfig, load_study
from tuner.space.config import BudgetConfig, JudgeConfig
from tuner.space.recipes import Hypothesis, Recipe

HEAD = "study: x\nbase: mannequin\ndata: mannequin\nbudget: {trials: 3, rungs: [5, 10]}\n"


def _errors(tmp_path: Path, text: str, head: str = HEAD, **options: Any) -> list[str]:
    path = tmp_path / "x.yaml"
    path.write_text(head + text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_study(path, **options)
    return [line.replace(f"{tmp_path}{os.sep}", "") for line in str(caught.value).splitlines()]


WRONG = [
    ("suite: {name: [persons]}", "x.yaml:5: suite.name: found ['persons'], allowed: 1 to 64"),
    ("suite: {name: {a: 1}}", "x.yaml:5: suite.name: found {a: 1}, allowed: 1 to 64"),
    ("suite: {size: 1e400}", "x.yaml:5: suite.size: found '1e400', allowed: pixels"),
    ("suite: 5", "x.yaml:5: suite: found 5, allowed: {name, prompts, append, negative, seeds"),
    ("judges: [a]", "x.yaml:5: judges: found ['a'], allowed: {gender_model, person_model"),
    ("train: {method: loar}", "found 'loar', allowed: lora, dreambooth; did you mean 'lora'?"),
    ("train: {captions: genders}", "did you mean 'gender'?"),
    ("train: {captions: {drop: ['(']}}", "'(' is no regular expression: missing ), unterm"),
    ("train: {captions: {drop: ['a{9999999999}']}}", "is no regular expression: the repetit"),
    (f"train: {{captions: {{drop: ['{'(' * 500}a{')' * 500}']}}}}", "is no regular expression: m"),
    (f"train: {{captions: 'drop: {'[' * 9999}'}}", "train.captions: found 'drop: [[["),
    ("train: {captions: {drop: ['(a+)+b']}}", "'(a+)+b' takes too long on some tags"),
    ("train: {captions: {kep: [1girl]}}", "train.captions.kep: unknown key; did you mean 'keep'?"),
    ("extends: pose.yml", "x.yaml: extends "),
    ("objectives: [pose, gendr]", "did you mean 'gender'?"),
    ("sampler: rndom", "did you mean 'random'?"),
    ("rank: 8", "x.yaml:5: rank: unknown key here; it belongs in `train:`"),
    ("train: {extends: a.yaml}", "train.extends: unknown key here; it belongs at the top"),
    ("train: {warmup_steps: 100001}", "allowed: a whole number from 0 to 100000"),
    ("train: {rank: {choices: [1, 2], when: {alias: []}}}", "a list of at least one value"),
    (
        "train: {empty_prompt: {low: 0, high: 1, step: 1e-320}}",
        "train.empty_prompt.step: found 1e-320, allowed: a divisor",
    ),
    ("train: {empty_prompt: {low: 0, high: 1, step: 1e-300}}", "(10^12) values in a range"),
    ("train: {seed: {low: 0, high: 99999999999999999}}", "allowed: at most 9007199254740992"),
    ("sampler: gp\ntrain: {seed: {low: 0, high: 1000000}}", "too many values for the sampler gp"),
    ('"a\\n\\e[1m": 1', "x.yaml:5: a \\x1b[1m: unknown key"),
    ("train:\n\trank: 8", "indent with spaces"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG, ids=[text[:60] for text, _ in WRONG])
def test_a_wrong_value_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    (line,) = _errors(tmp_path, text)
    assert expected in line
    assert len(line) < 500
    assert line.isprintable()


NO_NAMES = ("[a]", "{a: 1}", "5", "1.5", "true", "-0", "[[1]]", "[null]", "null", "''", "[]", "{}")


@pytest.mark.parametrize("key", ["study", "base", "sampler", "suite.name", "suite.sampler"])
@pytest.mark.parametrize("value", NO_NAMES)
def test_what_is_no_name_is_refused(tmp_path: Path, key: str, value: str) -> None:
    (line,) = _errors(tmp_path, "", set_values=[f"{key}={value}"])
    assert line.startswith(f"--set {key}={value}: {key}: found ")


@pytest.mark.parametrize("head", ["study: x\nbase: mannequin\ndata: mannequin\n", "study: x\n"])
def test_a_missing_section_says_what_belongs_there(tmp_path: Path, head: str) -> None:
    *_, line = _errors(tmp_path, "", head)
    assert line == (
        "x.yaml: key 'budget' is missing; allowed: {trials, rungs, keep, keep_from, "
        "low_rung_seeds, confirm, confirm_samples, confirm_repeats, hours, gpu_hours}"
    )


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("constraints={undressed_rate: 15}", "constraints.undressed_rate"),
        ("constraints.undressed_rate=15", "constraints.undressed_rate"),
        ("constraints={undresed_rate: 0.1}", "constraints.undresed_rate"),
        ("suite={name: other}", "suite.name"),
        ("train={rank: 0}", "train.rank"),
        ("budget={trials: 0}", "budget.trials"),
    ],
)
def test_a_wrong_setting_is_not_blamed_on_the_file(
    tmp_path: Path, setting: str, place: str
) -> None:
    text = "constraints: {undressed_rate: 0.1}\nsuite: {seeds: 2}\ntrain: {rank: 2}\n"
    (line,) = _errors(tmp_path, text, set_values=[setting])
    assert line.startswith(f"--set {setting}: {place}: ")


def test_extends_is_no_setting(tmp_path: Path) -> None:
    (line,) = _errors(tmp_path, "", set_values=["extends=a.yaml"])
    assert line.startswith("--set extends=a.yaml: extends is read at the top of a file only")


def test_many_problems_are_cut(tmp_path: Path) -> None:
    lines = _errors(tmp_path, "".join(f"key{n}: 1\n" for n in range(500)))
    assert len(lines) == 51
    assert lines[-1].endswith("and 450 more problems")


@pytest.mark.parametrize(
    "model",
    [StudyConfig, BudgetConfig, SuiteConfig, TrainConfig, JudgeConfig, Recipe, Hypothesis],
)
def test_the_rule_of_a_key_names_both_bounds(model: type[BaseModel]) -> None:
    powers = {2**32: "2^32", 2**63: "2^63"}
    for name, field in model.model_fields.items():
        for end in ("ge", "gt", "le", "lt"):
            limits = [getattr(bound, end) for bound in field.metadata if hasattr(bound, end)]
            assert all(powers.get(each, str(each)) in str(field.description) for each in limits), (
                f"{name}: {limits}"
            )


@pytest.mark.parametrize("value", ["{a: [b]}", "{a: {b: c}}", "[[a]]", "5"])
def test_data_of_the_wrong_kind_are_told_once(tmp_path: Path, value: str) -> None:
    (line,) = _errors(tmp_path, "", HEAD.replace("data: mannequin", f"data: {value}"))
    shown = value.replace("b]", "'b']").replace("c}", "'c'}").replace("[[a]]", "[['a']]")
    assert f"data: found {shown}, allowed: mannequin, " in line
