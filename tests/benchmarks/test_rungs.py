from __future__ import annotations

from pathlib import Path

import pytest
import rungs

from tests.pose_study import FEW, SAMPLES, SPACE
from tests.tuner.report_studies import new_study, put_trial
from tuner.storage import StudyFolder


def arm(seconds: float, fresh: float) -> rungs.Arm:
    return rungs.Arm(24, 9, 15, seconds, 0.8 * seconds, 900, 400, 5, 0.7, fresh)


def test_low_rungs_are_what_comes_before_the_last_training() -> None:
    phases = [("train", 5.0), ("sample", 2.0), ("score", 1.0), ("train", 7.0), ("sample", 4.0)]
    assert rungs.without_low_rungs(phases) == 16.0
    assert rungs.without_low_rungs(phases[:3]) == 8.0
    assert rungs.without_low_rungs([]) == 0.0


def test_time_and_front_are_compared_over_the_seeds() -> None:
    pairs = [rungs.Pair(n, arm(100, 0.5), arm(40 + 10 * n, 0.4 + 0.01 * n), 0.3) for n in range(3)]
    assert "0.50 of the time without, at most half, and 0.62" in rungs.cost_line(pairs)
    assert "-0.090 [-0.115, -0.065] over 3 seeds: worse" in rungs.gain_line(pairs)
    assert "one seed" in rungs.gain_line(pairs[:1])
    alike = [rungs.Pair(n, arm(100, 0.5), arm(60, 0.4 + 0.1 * n), 0.3) for n in range(3)]
    assert "more than half" in rungs.cost_line(alike)
    assert "no difference shown" in rungs.gain_line(alike)


def test_fewer_trials_are_those_that_the_seconds_were_enough_for(tmp_path: Path) -> None:
    folder = new_study(tmp_path)
    for number, state in enumerate(["complete", "stopped", "complete"]):
        put_trial(folder, number, state, good=0.8 + 0.1 * number)  # 20 s of training each
    found = [rungs.volume_for(folder, seconds) for seconds in (19.0, 20.0, 59.0, 60.0)]
    assert found[0] == 0
    assert found[0] < found[1] == found[2] < found[3]
    assert found[3] == rungs.measured(folder).hypervolume


@pytest.mark.slow
def test_two_tiny_studies_give_a_table_and_are_not_run_again(tmp_path: Path) -> None:
    small = ["suite.seeds=1", "suite.steps=2", "train.batch_size=2", "train.resolution=48"]
    small += ["data=mannequin:few", f"suite.prompts={FEW}"]
    options = [
        str(SPACE),
        "--trials",
        "1",
        "--seeds",
        "0",
        "--rungs",
        "1",
        "2",
        "--low-rung-seeds",
        "1",
    ]
    options += [part for one in small for part in ("--set", one)]
    options += [
        "--confirm",
        "1",
        "--studies",
        str(tmp_path / "studies"),
        "--result",
        str(tmp_path / "rungs.md"),
    ]
    rungs.main(options)
    text = (tmp_path / "rungs.md").read_text(encoding="utf-8")
    assert "| 0 | 1 and 1 | 0 |" in text
    assert "off-0: step 1: 1 trial; " in text
    found = rungs.measured(StudyFolder(tmp_path / "studies" / "on-0"))
    assert (found.trials, found.stopped) == (1, 0)
    assert 0 < found.last_alone < found.seconds
    assert (found.steps, found.samples) == (2, 2 * SAMPLES)
    assert found.fresh == 0  # two steps of sampling dress nobody: there is nothing to confirm
    rungs.main(options)
    assert (tmp_path / "rungs.md").read_text(encoding="utf-8") == text
