from __future__ import annotations

import pytest

from metrics.contract import Score
from metrics.scoring import JUDGES, OPTIONAL_JUDGES
from tuner.report.findings import QUESTIONS, Drawing, drawing, findings

JOINTS = [round(0.03 * n, 2) for n in range(26)]


def scores(*given: Score) -> dict[str, Score]:
    return {score.judge: score for score in given}


def test_every_judge_has_its_question() -> None:
    assert set(QUESTIONS) == {judge.name for judge in (*JUDGES, *OPTIONAL_JUDGES)}


def test_faults_are_in_words_the_surest_first() -> None:
    result = findings(
        scores(
            Score("limbs", 0.3, None, {"worst": "missing arm"}),
            Score("gender", 0.1),
            Score("cloth_share", 0.4),
            Score("pose_readable", 1.0),
            Score("sharp", None, "too small"),
            Score("one_person", 0.0, None, {"persons": 3}),
            Score("no_explicit_parts", 0.2, None, {"MALE_GENITALIA_EXPOSED": 0.9}),
        ),
        "female",
    )
    assert [finding.words for finding in result] == [
        "3 persons",
        "not female",
        "explicit: male genitalia exposed",
        "missing arm",
        "undressed",
    ]


def test_a_judge_of_another_version_is_shown_by_its_name() -> None:
    assert findings(scores(Score("layout", 0.2)))[0].words == "layout low"


def test_a_limb_too_many_is_drawn_with_the_skeleton_and_its_box() -> None:
    limbs = Score("limbs", 0.1, None, {"worst": "extra limb", "part": [0.1, 0.2, 0.3, 0.4]})
    pose = Score("pose_readable", 1.0, None, {"people": 1, "joints": JOINTS})
    result = drawing(scores(limbs, pose))
    assert len(result.bones) == 13
    assert result.bones[1] == ((0.06, 0.09), (0.12, 0.15))  # the shoulders
    assert result.boxes == ((0.1, 0.2, 0.3, 0.4),)
    missing = Score("limbs", 0.1, None, {"worst": "missing arm", "part": [0.1, 0.2, 0.3, 0.4]})
    assert drawing(scores(missing, pose)).boxes == ()


def test_a_colour_block_is_drawn_without_a_skeleton() -> None:
    block = {"worst": "colour block", "block": [0, 0, 0.5, 1]}
    assert drawing(scores(Score("clean", 0.2, None, block))) == Drawing((), ((0, 0, 0.5, 1),))
    assert drawing(scores(Score("clean", 0.8, None, block))) == Drawing()


@pytest.mark.parametrize("joints", [None, "x", [0.1], [None] * 26])
def test_without_kept_places_nothing_is_drawn(joints: object) -> None:
    limbs = Score("limbs", 0.1, None, {"worst": "extra limb"})
    pose = Score("pose_readable", 1.0, None, {"joints": joints})  # type: ignore[dict-item]
    assert drawing(scores(limbs, pose)) == Drawing()
    assert drawing(scores(limbs)) == Drawing()
