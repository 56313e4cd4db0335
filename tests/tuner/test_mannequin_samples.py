"""The judges against an eye: 300 samples of the mannequin, labelled before any judge saw them."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrics import open_detectors
from tuner.judge_models import judge_settings
from tuner.label_file import labelled_cases, labelled_pictures
from tuner.selfcheck import Measure, answers, measures

TABLE = Path(__file__).parents[1] / "mannequin_samples" / "labels.csv"


@pytest.fixture(scope="module")
def measured() -> dict[str, Measure]:
    with open_detectors(judge_settings("mannequin", "mannequin")) as judges:
        found = measures(list(answers(labelled_cases(labelled_pictures(TABLE)), judges)))
    return {one.judge: one for one in found}


@pytest.mark.slow
@pytest.mark.parametrize("judge", ["limbs", "pose_readable"])
def test_the_eye_and_the_judge_find_the_same_bodies_wrong(
    judge: str, measured: dict[str, Measure]
) -> None:
    one = measured[judge]
    assert one.asked == 300
    assert one.abstained <= 35  # of limbs too where a pose can hardly be read
    assert one.auc is not None
    assert one.auc >= 0.85


@pytest.mark.slow
def test_the_eye_and_the_judges_agree_on_sex_and_clothes(measured: dict[str, Measure]) -> None:
    sex = measured["gender"]
    assert sex.false_alarms.n >= 250
    assert 1.0 - sex.false_alarms.value >= 0.95
    assert measured["cloth_share"].auc is not None
    assert measured["cloth_share"].auc >= 0.97
