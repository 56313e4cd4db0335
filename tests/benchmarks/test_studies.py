"""What the benchmarks of finished studies say of a real one."""

from __future__ import annotations

from pathlib import Path

import pytest
import winners

import studies
from tests.test_main_job import SMALL, SPACE, tuner

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one confirmed trial that no limit holds back, scored at its end only."""
    folder = tmp_path_factory.mktemp("studies")
    only = ["--set", "constraints.undressed_rate=null", "--set", "budget.rungs=[6]"]
    few = ["--trials", "1", "--samples", "13", "--training-seeds", "0"]
    for verb in (["run", str(SPACE), "--trials", "1", *SMALL, *only], ["confirm", "pose", *few]):
        done = tuner(*verb, studies=folder)
        assert done.returncode == 0, done.stderr
    return folder / "pose"


def test_the_best_of_a_front_is_chosen_on_some_noise_and_measured_on_other(
    study: Path, tmp_path: Path
) -> None:
    result = tmp_path / "studies.md"
    asked = [str(study), "--noise-seeds", "2", "--choosing-seeds", "1", "--result", str(result)]
    studies.main(asked)
    text = result.read_text(encoding="utf-8")
    assert "on 13 fresh samples, the best of them and the base on 26 others" in text
    assert "| 1 | 1 | 1 | trial 0: " in text
    lines = result.with_suffix(".jsonl").read_text(encoding="utf-8")
    assert lines.count("\n") == 2
    assert "20000+1" in lines
    assert "10000+2" in lines
    studies.main(asked)
    assert result.read_text(encoding="utf-8") == text
    assert result.with_suffix(".jsonl").read_text(encoding="utf-8") == lines


def test_a_winner_is_measured_again(study: Path, tmp_path: Path) -> None:
    result = tmp_path / "winners.md"
    asked = [str(study), "--noise-seeds", "1", "--result", str(result)]
    winners.main(asked)
    text = result.read_text(encoding="utf-8")
    assert "on 13 samples of other noise" in text
    rows = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert [row.split(" | ")[3] for row in rows] == ["pose", "gender", "clothing", "quality"]
    assert text.rstrip().endswith("of 1 winners lie within all their stated intervals.")
    winners.main(asked)
    assert result.read_text(encoding="utf-8") == text
