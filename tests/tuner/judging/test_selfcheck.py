from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from metrics import open_detectors
from metrics.contract import Prompt, Sample
from metrics.detectors.models import ModelUnavailableError
from metrics.scoring import JUDGES
from tuner.cli.app import app
from tuner.judging import judge_reports, score_cases
from tuner.judging.cases import (
    ALL_JUDGES,
    ALSO,
    BLOCK,
    BLUR,
    SOUND,
    Case,
    ladders,
    wrong_sex,
)
from tuner.judging.models import judge_settings
from tuner.judging.rendered_cases import GROUPS, rendered_cases
from tuner.judging.selfcheck import JudgeReport
from tuner.mannequin.unreadable import STRENGTHS

FAULTS = {
    "no figure": "pose_readable",
    "unreadable": "pose_readable",
    **dict.fromkeys(("extra arm", "missing arm", "extra leg", "missing leg"), "limbs"),
    "two figures": "one_person",
    "wrong sex": "gender",
    "wrong framing": "framing_given",
    "other colours": "prompt_fit",
    "undressed": "cloth_share",
    "red eyes": "no_red_eyes",
    "blur": "sharp",
    "colour block": "clean",
}


def selfcheck(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["selfcheck", *map(str, arguments)])


def test_each_fault_is_drawn_once_for_each_figure_of_each_style() -> None:
    cases = list(rendered_cases(2, 64))
    assert {case.group for case in cases} == {"renders, first style", "renders, second style"}
    sound = [case for case in cases if case.kind == SOUND]
    assert len(sound) == 4
    assert all(case.judges == ALL_JUDGES for case in sound)
    assert {case.kind: case.judges for case in cases if case.kind != SOUND} == {
        kind: (judge, *ALSO.get(judge, ())) for kind, judge in FAULTS.items()
    }
    rungs = 4 * (len(FAULTS) - 3 + len(BLUR) + len(BLOCK) + len(STRENGTHS))
    assert len(cases) == 4 + rungs
    again = rendered_cases(2, 64)
    for case, other in zip(cases, again, strict=True):
        assert np.array_equal(case.sample.image, other.sample.image)


def test_every_fault_but_the_prompts_changes_the_picture() -> None:
    first, *faulty = (case for case in rendered_cases(1, 64) if "first" in case.group)
    for case in faulty:
        same = np.array_equal(first.sample.image, case.sample.image)
        by_words = {"wrong sex", "wrong framing", "other colours"}
        assert same == (case.kind in by_words), case.kind


def test_a_ladder_keeps_the_blocks_place_and_colour() -> None:
    image = np.full((100, 200, 3), 120, np.uint8)
    sound = Case("g", 3, SOUND, (), Sample(Prompt("1girl", "female"), 3, image))
    blocks = [case for case in ladders(sound) if case.kind == "colour block"]
    assert [case.strength for case in blocks] == list(BLOCK)
    painted = [(case.sample.image != 120).any(axis=-1) for case in blocks]
    assert [int(where.sum()) for where in painted] == [(round(s * 100)) ** 2 for s in BLOCK]
    colours = {tuple(c.sample.image[p][0]) for c, p in zip(blocks, painted, strict=True)}
    assert len(colours) == 1
    assert (image == 120).all()


def test_the_prompt_gets_the_other_sex_only_if_it_names_one() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    for sex, other in (("female", "male"), ("male", "female")):
        sound = Case("g", 0, SOUND, (), Sample(Prompt("p", sex), 0, image))  # type: ignore[arg-type]
        (case,) = wrong_sex(sound)
        assert (case.sample.prompt.sex, case.judges) == (other, ("gender",))
    assert not list(wrong_sex(Case("g", 0, SOUND, (), Sample(Prompt("p"), 0, image))))


@pytest.mark.slow
def test_the_command_prints_and_writes_what_it_measured(tmp_path: Path) -> None:
    file = tmp_path / "new" / "judges.json"
    done = selfcheck("--count", 2, "--size", 96, "--json", file)
    assert done.exit_code == 0, done.output
    for words in ("renders, first style", "renders, second style", *FAULTS):
        assert words in done.stdout
    whole = json.loads(file.read_text("utf-8"))
    assert whole["about"] == ["figures: 2 of each style at 96 px, and their faults"]
    assert len(whole["measures"]) == 2 * len(JUDGES)
    cloth = next(row for row in whole["measures"] if row["judge"] == "cloth_share")
    assert cloth["faults"][0]["kind"] == "undressed"
    assert cloth["pictures"] == 4


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--data", "nowhere"], "nowhere is not there"),
        (["--labels", "nowhere.csv"], "nowhere.csv cannot be read: No such file"),
        (["--json", "judges.csv"], "name a file that ends in .json"),
    ],
)
def test_unusable_input_is_one_line_at_once(
    arguments: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = selfcheck(*arguments)
    assert done.exit_code == 3
    assert done.stdout == ""
    assert [each[:7] for each in done.stderr.splitlines()] == ["error: "]
    assert line in done.stderr


def test_a_missing_model_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ModelUnavailableError("no pose_landmarker")

    monkeypatch.setattr("metrics.detectors.fetch", refuse)
    done = selfcheck("--count", 2, "--size", 64)
    assert done.exit_code == 4
    assert done.stderr.splitlines()[-1] == "error: no pose_landmarker"


def measured(count: int, size: int) -> dict[str, JudgeReport]:
    """The report of every judge on `count` figures of the first style."""
    first = takewhile(lambda case: case.group == GROUPS["first"], rendered_cases(count, size))
    with open_detectors(judge_settings("mannequin", "mannequin", domain="drawn")) as judges:
        reports = judge_reports(list(score_cases(first, judges)))
    return {report.judge: report for report in reports}


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 256])
def test_the_judges_are_right_about_the_first_style(size: int) -> None:
    reports = measured(10, size)
    poses = reports["pose_readable"]
    assert poses.false_alarms.value <= 0.1
    gone = [fault for fault in poses.faults if fault.strength in (0.0, 1.0)]
    assert len(gone) == 2
    assert all(fault.auc is not None and fault.auc >= 0.93 for fault in gone)
    assert poses.ladders[0].falls
    for judge in ("limbs", "one_person", "gender", "cloth_share", "clean"):
        report = reports[judge]
        assert report.auc is not None
        assert report.auc >= 0.93, judge
        assert report.false_alarms.value <= 0.1, judge
    eyes = reports["no_red_eyes"]
    if size < 128:
        assert eyes.abstained == eyes.pictures
    else:
        assert eyes.auc is not None
        assert eyes.auc >= 0.97
        assert eyes.false_alarms.value <= 0.03
    for judge in ("sharp", "clean"):
        (ladder,) = reports[judge].ladders
        assert ladder.spearman is not None
        assert ladder.spearman <= -0.9, judge
