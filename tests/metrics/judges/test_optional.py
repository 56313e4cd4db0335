"""The judges whose model the user names: their arithmetic on given results, and abstentions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrics.contract import JudgeSettings, Prompt, Sample
from metrics.detectors import Detectors
from metrics.detectors.human_parser import ParsedPicture, class_groups
from metrics.detectors.mediapipe import Person
from metrics.detectors.second_pose import Skeleton
from metrics.evidence import Evidence
from metrics.judges.optional import parsed_clothes, second_pose, vlm
from metrics.scoring import JUDGES, OPTIONAL_JUDGES, judges_for
from tests.metrics.hub_models import ATR, qwen

SAMPLE = Sample(Prompt("1girl", "female"), 0, np.zeros((200, 100, 3), np.uint8))
SHAPE = {
    **{11: (0.6, 0.3), 12: (0.4, 0.3), 23: (0.56, 0.5), 24: (0.44, 0.5), 0: (0.5, 0.15)},
    **{13: (0.7, 0.4), 14: (0.3, 0.4), 15: (0.75, 0.5), 16: (0.25, 0.5)},
    **{25: (0.56, 0.7), 26: (0.44, 0.7), 27: (0.56, 0.9), 28: (0.44, 0.9)},
}
"""A standing figure; its torso is 0.2 of 200 pixels long."""
TORSO = 40.0
GROUPS = class_groups(dict(enumerate(ATR)))
CLOTHES, ARM, OTHER_ARM = (ATR.index(name) for name in ("Dress", "Left-arm", "Right-arm"))


def person(**hidden: float) -> Person:
    joints = np.full((33, 2), 0.5, np.float32)
    for number, place in SHAPE.items():
        joints[number] = place
    visibility = np.ones(33, np.float32)
    for name, value in hidden.items():
        visibility[second_pose.JOINTS[name.replace("_", " ")][0]] = value
    return Person(joints, visibility, np.ones((20, 10), np.float32))


def skeleton(**moved: float) -> Skeleton:
    """The same figure for the second network, joints moved to the right by pixels."""
    joints, confidence = np.zeros((17, 2), np.float32), np.zeros(17, np.float32)
    for name, (own, coco) in second_pose.JOINTS.items():
        joints[coco] = SHAPE[own]
        joints[coco, 0] += moved.get(name.replace(" ", "_"), 0.0) / 100
        confidence[coco] = 0.9
    return Skeleton(joints, confidence)


def evidence(settings: JudgeSettings, **known: object) -> Evidence:
    made = Evidence(SAMPLE, Detectors(settings))
    made.__dict__.update(known)  # where cached properties keep what they computed
    return made


def two_poses(first: Person, other: Skeleton | None) -> Evidence:
    return evidence(JudgeSettings(pose_model="any"), people=(first,), second_pose=other)


def test_equal_poses_agree_fully() -> None:
    score = second_pose.score(SAMPLE, two_poses(person(), skeleton()))
    assert score.value is not None
    assert score.value > 0.95
    assert score.evidence["share"] == 1.0
    assert score.evidence["shared"] == 13


def test_distances_are_in_torso_lengths() -> None:
    apart = second_pose.distances(
        person(), skeleton(left_wrist=TORSO / 2), np.array([100, 200], np.float32)
    )
    assert apart["left wrist"] == pytest.approx(0.5)
    assert apart["right wrist"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("moved", "share", "fault"),
    [
        ({"left_wrist": 0.19}, 1.0, False),
        ({"left_wrist": 0.21}, 12 / 13, False),
        ({"left_wrist": 0.5, "left_elbow": 0.3}, 11 / 13, True),
    ],
)
def test_two_joints_apart_are_a_fault(moved: dict[str, float], share: float, fault: bool) -> None:
    other = skeleton(**{name: by * TORSO for name, by in moved.items()})
    score = second_pose.score(SAMPLE, two_poses(person(), other))
    assert score.value is not None
    assert (score.value < 0.5) == fault
    assert score.evidence["share"] == pytest.approx(share)
    assert score.evidence["worst"] == "no agreement on left wrist"


def test_only_joints_that_both_see_count() -> None:
    other = skeleton(left_wrist=10.0, right_ankle=80.0)
    other.confidence[13] = 0.1
    score = second_pose.score(SAMPLE, two_poses(person(left_wrist=0.2), other))
    # The wrist is hidden for the first, the knee for the second, the ankle out of its frame.
    assert score.evidence["shared"] == 10
    assert score.evidence["only_first"] == 2
    assert score.evidence["only_second"] == 1
    assert score.evidence["share"] == 1.0


def test_too_few_shared_joints_are_no_answer() -> None:
    other = skeleton()
    other.confidence[6:] = 0.0
    score = second_pose.score(SAMPLE, two_poses(person(), other))
    assert score.value is None
    assert score.reason == "the two networks share too few joints"
    assert score.evidence["shared"] == 2


def parsed(labels: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Evidence:
    known = ParsedPicture(labels, GROUPS)
    return evidence(JudgeSettings(parser_model="any"), people=(person(),), parsed=known)


@pytest.mark.parametrize("bare", [0.0, 0.5, 1.0])
def test_the_share_of_clothes_is_that_of_the_torso(bare: float) -> None:
    labels = np.full((400, 200), CLOTHES, np.int64)
    torso = slice(120, 200)  # rows from shoulders to hips
    middle = round(124 + (196 - 124) * (1 - bare))
    labels[middle : torso.stop] = ARM
    score = parsed_clothes.score(SAMPLE, parsed(labels))
    assert score.value == pytest.approx(1 - bare, abs=0.05)
    assert score.evidence["clothes"] == pytest.approx(1 - bare, abs=0.05)


def test_a_torso_that_is_not_parsed_is_no_answer() -> None:
    score = parsed_clothes.score(SAMPLE, parsed(np.zeros((400, 200), np.int64)))
    assert (score.value, score.evidence["clothes"]) == (None, 0.0)
    assert score.reason == "the parser sees neither clothes nor skin there"


def test_separate_arms_are_counted_by_class_without_specks() -> None:
    labels = np.zeros((400, 200), np.int64)
    labels[100:200, 20:40] = ARM
    labels[100:200, 40:60] = OTHER_ARM  # crossed: one piece of two classes
    labels[300:350, 150:180] = ARM
    labels[10:12, 10:12] = ARM
    known = ParsedPicture(labels, GROUPS)
    assert parsed_clothes.separate_parts(known, "arm", (0.0, 0.0, 1.0, 1.0)) == 3
    assert parsed_clothes.separate_parts(known, "arm", (0.0, 0.0, 1.0, 0.6)) == 2
    assert parsed_clothes.separate_parts(known, "leg", (0.0, 0.0, 1.0, 1.0)) == 0


@pytest.mark.parametrize(("says", "value"), [("Yes", 1.0), ("no", 0.0), ("maybe", None)])
def test_the_model_s_answers_are_the_value(tmp_path: Path, says: str, value: float | None) -> None:
    settings = JudgeSettings(vlm=qwen(tmp_path, "Yes", "no", "maybe", says=says))
    score = vlm.score(SAMPLE, evidence(settings, people=(person(),)))
    if value is None:
        assert (score.value, score.reason) == (None, "the model says neither yes nor no")
    else:
        assert score.value == pytest.approx(value, abs=1e-3)
        assert set(score.evidence) == {*vlm.QUESTIONS, "worst"}


def test_a_judge_is_used_where_its_model_is_named() -> None:
    assert judges_for(JudgeSettings()) == JUDGES
    named = judges_for(JudgeSettings(parser_model="a/b"))
    assert [judge.name for judge in named[len(JUDGES) :]] == ["parsed_clothes"]
    every = judges_for(JudgeSettings(pose_model="a", parser_model="b", vlm="c"))
    assert every == (*JUDGES, *OPTIONAL_JUDGES)


def test_without_a_model_or_a_figure_they_abstain() -> None:
    named = JudgeSettings(pose_model="a", parser_model="b", vlm="c")
    for judge in OPTIONAL_JUDGES:
        score = judge.score(SAMPLE, evidence(JudgeSettings(), people=()))
        assert score.value is None
        assert score.reason is not None
        assert score.reason.endswith("model set")
        nobody = evidence(named, people=(), second_pose=None, parsed=None)
        nobody._detectors.__dict__["vlm"] = object()
        assert judge.score(SAMPLE, nobody).value is None
