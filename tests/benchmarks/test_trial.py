"""The plain loop is our training step: a benchmark of other work would compare nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trial
from trial_losses import agreement

from tuner.space import TrainConfig, load_study
from tuner.study.record import read_data


@pytest.mark.slow
@pytest.mark.usefixtures("few_pictures")
def test_both_ways_compute_the_same_loss_on_the_same_pictures(tmp_path: Path) -> None:
    config = load_study(trial.SPACE)
    train = TrainConfig(batch_size=2, resolution=64, learning_rate=1e-3, empty_prompt=0.0)
    data = read_data(config)[None]
    task = trial.task_of(config, train, data, tmp_path, 1)
    assert agreement(task, train, data)["float32"] < 1e-4
    others = replace(task, pictures=task.pictures[::-1])
    with pytest.raises(AssertionError, match="losses differ"):
        agreement(others, train, data)
