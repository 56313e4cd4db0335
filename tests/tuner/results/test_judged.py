"""What a study of existing files found, from rows whose goodness is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from metrics.contract import Prompt
from tests.tuner.report_studies import new_study, put_samples, put_trial
from tuner.errors import ConfigError
from tuner.report import write_report
from tuner.report.judged import answer_lines, curve_lines, judged_document, judged_table, verdict
from tuner.results.judged import Curve, TrialFile, read_judged, trial_file
from tuner.results.results import read_results
from tuner.storage import Store, StudyFolder

PROMPTS = [
    Prompt(f"{word}, {place}", sex)
    for word, sex in (("1girl", "female"), ("1boy", "male"))
    for place in ("park", "street", "room", "beach", "wood", "shop", "hall", "roof", "farm", "lake")
]  # fmt: skip


def put_file(folder: StudyFolder, number: int, file: TrialFile, good: float) -> None:
    """A file that was judged; each judge is content with a sample with the probability `good`."""
    with Store(folder.results_db) as store:
        store.begin_trial(number, file.parameters())
    put_samples(folder, number, file.step or 0, good, PROMPTS)
    with Store(folder.results_db) as store:
        store.end_trial(number, "complete", None, 1.0)


def put_run(folder: StudyFolder, goods: Sequence[float], strengths: Sequence[float]) -> None:
    put_samples(folder, None, 0, 0.6, PROMPTS)
    number = 0
    for place, good in enumerate(goods):
        for strength in strengths:
            name, step = f"me-{place}", 100 * (place + 1)
            put_file(folder, number, TrialFile(name, strength, f"{place:016d}", "me", step), good)
            number += 1


def of_axis(curves: Sequence[Curve], axis: str) -> list[Curve]:
    return [curve for curve in curves if curve.axis == axis]


def test_the_curve_of_an_over_trained_run_turns_where_it_is_clearly_lower(tmp_path: Path) -> None:
    folder = new_study(tmp_path, budget=5)
    put_run(folder, (0.6, 0.9, 0.98, 0.5, 0.1), (1.0,))
    judged = read_judged(folder)
    [curve] = of_axis(judged.curves, "step")
    assert curve.at == (100, 200, 300, 400, 500)
    assert curve.at[curve.best] in (200, 300)
    assert curve.turn is not None
    assert curve.at[curve.turn] == 400
    assert "clearly lower from step 400" in curve_lines(judged.curves)[0]


def test_a_run_that_still_rises_has_no_turn(tmp_path: Path) -> None:
    folder = new_study(tmp_path, budget=3)
    put_run(folder, (0.1, 0.5, 0.99), (1.0,))
    [curve] = of_axis(read_judged(folder).curves, "step")
    assert curve.turn is None
    assert "its last" in curve_lines([curve])[0]


def test_the_answer_is_that_of_the_study_and_names_what_is_tied(tmp_path: Path) -> None:
    folder = new_study(tmp_path, budget=4)
    put_run(folder, (0.97, 0.1), (0.6, 1.0))
    judged = read_judged(folder)
    assert judged.winner is not None
    assert judged.winner.file.name == "me-0"
    assert {row.file.name for row in judged.tied} <= {"me-0"}
    assert 0.3 < judged.share <= 1
    assert judged.winner.gain is not None
    assert verdict(judged.winner.gain) == "better than"
    lines = answer_lines(folder, judged)
    assert lines[0].startswith("take me-0 at ")
    assert any(line.startswith("better than the base") for line in lines)
    document = judged_document(folder, judged)
    assert document["verdict"] == "better"
    assert judged_table(judged).row_count == 5


def test_three_strengths_of_a_file_are_a_curve(tmp_path: Path) -> None:
    folder = new_study(tmp_path, budget=3)
    put_run(folder, (0.9,), (0.5, 1.0, 1.5))
    judged = read_judged(folder)
    [curve] = judged.curves
    assert (curve.axis, curve.at) == ("strength", (0.5, 1.0, 1.5))
    page = write_report(folder).read_text("utf-8")
    assert 'id="curve-strengths"' in page
    assert "0.5,1.0,1.5" in page


def test_files_without_pictures_have_their_reason_and_no_place(tmp_path: Path) -> None:
    folder = new_study(tmp_path, budget=2)
    put_run(folder, (0.9,), (1.0,))
    with Store(folder.results_db) as store:
        store.begin_trial(1, TrialFile("other", 1.0, "f" * 16, "other").parameters())
        store.end_trial(1, "failed", "it is a LoRA for flux")
    judged = read_judged(folder)
    [failed] = judged.failed
    assert failed.reason == "it is a LoRA for flux"
    assert judged.winner is not None
    assert "it is a LoRA for flux" in write_report(folder).read_text("utf-8")


def test_a_study_of_trials_is_no_study_of_files(tmp_path: Path) -> None:
    folder = new_study(tmp_path)
    put_samples(folder, None, 0, 0.6)
    put_trial(folder, 0)
    assert trial_file(read_results(folder).trials[0]) is None
    with pytest.raises(ConfigError, match="no study of existing files"):
        read_judged(folder)
