"""What the benchmarks of finished studies say of a real one."""

from __future__ import annotations

from pathlib import Path

import pytest
import winners

import studies
from tests.pose_study import SAMPLES, tuner
from tuner.results import read_results
from tuner.results.results import front
from tuner.storage import StudyFolder

pytestmark = pytest.mark.slow


def test_the_best_of_a_front_is_chosen_on_some_noise_and_measured_on_other(
    pose_study: Path, tmp_path: Path
) -> None:
    study, result = pose_study / "pose", tmp_path / "studies.md"
    arguments = [str(study), "--noise-seeds", "1", "--choosing-seeds", "1", "--result", str(result)]
    studies.main(arguments)
    text = result.read_text(encoding="utf-8")
    best = front(read_results(StudyFolder(study)))
    assert "on 13 fresh samples, the best of them and the base on 13 others" in text
    assert f"| 1 | 2 | {len(best)} | trial " in text
    lines = result.with_suffix(".jsonl").read_text(encoding="utf-8")
    assert lines.count("\n") == len(best) + 1
    assert lines.count("20000+1") == len(best)
    assert lines.count("10000+1") == 1
    studies.main(arguments)
    assert result.read_text(encoding="utf-8") == text
    assert result.with_suffix(".jsonl").read_text(encoding="utf-8") == lines


def test_a_winner_is_measured_again(pose_study: Path, tmp_path: Path) -> None:
    few = ["--trials", "1", "--samples", str(SAMPLES), "--training-seeds", "0"]
    done = tuner("confirm", "pose", *few, studies=pose_study)
    assert done.returncode == 0, done.stderr
    result = tmp_path / "winners.md"
    arguments = [str(pose_study / "pose"), "--noise-seeds", "1", "--result", str(result)]
    winners.main(arguments)
    text = result.read_text(encoding="utf-8")
    assert f"on {SAMPLES} samples of other noise" in text
    rows = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert [row.split(" | ")[3] for row in rows] == ["pose", "gender", "clothing", "quality"]
    assert text.rstrip().endswith("of 1 winners lie within all their stated intervals.")
    winners.main(arguments)
    assert result.read_text(encoding="utf-8") == text
