"""Timing of a trial's steps on a base of random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.tuner.models.test_sampling import room_for
from tuner.errors import MissingModelError, OutOfMemoryError
from tuner.models import BaseModel
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


def test_a_batch_of_samples_that_does_not_fit_is_halved(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "load_base", lambda *_, **__: base)
    monkeypatch.setattr(timing, "_ENOUGH", 0.001)
    suite = SUITE.model_copy(update={"size": 64})
    train = TrainConfig(batch_size=1, resolution=64)
    with room_for(base, 3) as tried:
        assert time_work("mannequin", None, train, suite, workers=1).sample > 0
    batches = list(dict.fromkeys(batch for batch in tried if batch))
    assert batches[0] == 1, "a single picture first"
    assert batches[1] > 6, "then as many as the sampler draws"
    assert batches[2:] == [batches[1] // 2**halved for halved in range(1, len(batches) - 1)]
    assert batches[-1] <= 3 < batches[-2]


def test_a_batch_that_does_not_fit_the_decoder_is_halved(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "load_base", lambda *_, **__: base)
    monkeypatch.setattr(timing, "_ENOUGH", 0.001)
    tried: list[int] = []

    def hook(_: object, arguments: tuple[torch.Tensor, ...]) -> None:
        tried.append(len(arguments[0]))
        if tried[-1] > 3:
            raise torch.OutOfMemoryError

    handle = base.pipeline.vae.decoder.register_forward_pre_hook(hook)
    try:
        train = TrainConfig(batch_size=1, resolution=64)
        assert time_work("mannequin", None, train, SUITE, workers=1).decode > 0
    finally:
        handle.remove()
    assert max(tried) > 6
    assert 1 < tried[-1] <= 3


def test_a_single_sample_that_does_not_fit_ends_the_timing(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "load_base", lambda *_, **__: base)
    train = TrainConfig(batch_size=1, resolution=64)
    # One unguided picture, a training step's, has room; a sample's guided step has two.
    with room_for(base, 0.5) as tried, pytest.raises(OutOfMemoryError):
        time_work("mannequin", None, train, SUITE, workers=1)
    assert max(tried) == 1


def test_a_base_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError):
        time_work(str(tmp_path), None, TrainConfig(), SUITE, workers=1)
