from __future__ import annotations

from pathlib import Path

import pytest

from metrics.contract import Prompt
from tests.tuner.report_studies import PROMPTS, new_study, put_samples, put_trial
from tuner.results import read_study_data
from tuner.results.answer import answer
from tuner.results.results import recommended
from tuner.results.study_data import StudyData
from tuner.storage import StudyFolder

MANY = tuple(Prompt(f"{one.text} {n}", one.sex) for one in PROMPTS for n in range(10))


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    folder = new_study(tmp_path)
    put_samples(folder, None, 0, 0.5, MANY)
    return folder


def read(folder: StudyFolder) -> StudyData:
    return read_study_data(folder)


def test_the_answer_is_the_trial_that_export_takes(folder: StudyFolder) -> None:
    for number, good in enumerate((0.6, 0.95, 0.5)):
        put_trial(folder, number, good=good, prompts=MANY)
    data = read(folder)
    found = answer(data)
    assert found.trial == recommended(data.results).result.trial.number == 1
    assert found.why == recommended(data.results).why


def test_a_gain_is_reported_only_where_its_interval_shows_it(folder: StudyFolder) -> None:
    put_trial(folder, 0, good=0.98, prompts=MANY)
    found = answer(read(folder))
    gains = {one.name: one for one in found.gains}
    pose = gains["pose"]
    assert pose.difference is not None
    assert pose.base is not None
    assert pose.difference.value == pytest.approx(pose.trial.value - pose.base.value)
    assert pose.difference.low > 0
    assert "pose" in found.gained("better")
    # All samples are as sharp as the base's by chance of the same draws, or not distinguishable.
    assert gains["quality"].outcome in ("not distinguishable", "better than the base")
    rates = [one.name for one in found.rates]
    assert rates == ["undressed_rate", "explicit_rate", "under_age_rate"]
    assert found.rates[0].difference is None


def test_a_trial_that_lost_to_the_base_is_reported(folder: StudyFolder) -> None:
    put_samples(folder, None, 0, 1.0, MANY)
    put_trial(folder, 0, good=0.4, prompts=MANY)
    found = answer(read(folder))
    assert found.trial == 0
    assert {"pose", "gender", "clothing"} <= set(found.gained("worse"))
    assert not found.gained("better")


def test_trials_that_nothing_tells_apart_are_tied(folder: StudyFolder) -> None:
    for number, good in enumerate((0.80, 0.81, 0.82, 0.83)):
        put_trial(folder, number, good=good, prompts=MANY)
    data = read(folder)
    found = answer(data)
    assert found.rivals == len(data.front) - 1
    assert set(found.tied) < set(data.front)
    assert found.trial not in found.tied


def test_without_a_complete_trial_the_reason_is_the_answer(folder: StudyFolder) -> None:
    put_trial(folder, 0, "infeasible", reason="undressed_rate is at least 0.30, allowed 0.15")
    found = answer(read(folder))
    assert found.trial is None
    assert "keeps the constraints" in found.why


def test_scores_of_another_suite_are_not_paired(tmp_path: Path) -> None:
    folder = new_study(tmp_path)
    put_samples(folder, None, 0, 0.5, MANY)
    put_trial(folder, 0, good=0.9)
    assert all(one.difference is None and one.outcome == "" for one in answer(read(folder)).gains)
