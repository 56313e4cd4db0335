"""Timing of a trial's steps on a base of random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tuner.errors import MissingModelError
from tuner.space import SuiteConfig, TrainConfig
from tuner.trial import timing
from tuner.trial.timing import time_work

SUITE = SuiteConfig(steps=2, seeds=1)


@pytest.mark.parametrize(
    "settings", [{"text_encoder_ratio": 0.2, "prior_weight": 1.0}, {"method": "dreambooth"}]
)
def test_every_kind_of_step_takes_time(
    tiny_base: Path, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "_ENOUGH", 0.001)
    train = TrainConfig.model_validate({"batch_size": 2, "resolution": 64, **settings})
    threads = torch.get_num_threads()
    timed = time_work(str(tiny_base), None, train, SUITE, workers=2)
    assert min(timed.train, timed.sample, timed.decode) > 0
    assert torch.get_num_threads() == threads


def test_a_base_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError):
        time_work(str(tmp_path), None, TrainConfig(), SUITE, workers=1)
