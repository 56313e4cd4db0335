"""The judges against a person: 300 samples of the mannequin, labelled before they were judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from metrics import open_detectors
from tuner.judging import judge_reports, score_cases
from tuner.judging.labelled_cases import labelled_cases, labelled_pictures
from tuner.judging.models import judge_settings
from tuner.judging.selfcheck import JudgeReport

JUDGED = {"limbs", "pose_readable", "gender", "cloth_share"}
TABLE = Path(__file__).parents[2] / "mannequin_samples" / "labels.csv"


@pytest.fixture(scope="module")
def measured() -> dict[str, JudgeReport]:
    with open_detectors(judge_settings("mannequin", "mannequin", domain="drawn")) as judges:
        cases = labelled_cases(labelled_pictures(TABLE))
        judged = (
            replace(case, judges=tuple(set(case.judges) & JUDGED))
            for case in cases
            if case.kind != "wrong sex"  # nothing below is said of it
        )
        reports = judge_reports(list(score_cases(judged, judges)))
    return {report.judge: report for report in reports}


@pytest.mark.slow
@pytest.mark.parametrize("judge", ["limbs", "pose_readable"])
def test_the_eye_and_the_judge_find_the_same_bodies_wrong(
    judge: str, measured: dict[str, JudgeReport]
) -> None:
    report = measured[judge]
    assert report.pictures == 300
    assert report.abstained <= 35  # of limbs too where a pose can hardly be read
    assert report.auc is not None
    assert report.auc >= 0.85


@pytest.mark.slow
def test_the_eye_and_the_judges_agree_on_sex_and_clothes(measured: dict[str, JudgeReport]) -> None:
    sex = measured["gender"]
    assert sex.false_alarms.n >= 250
    assert 1.0 - sex.false_alarms.value >= 0.95
    assert measured["cloth_share"].auc is not None
    assert measured["cloth_share"].auc >= 0.97
