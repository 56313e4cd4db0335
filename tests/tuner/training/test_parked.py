"""VAE and text encoder leave the device while no training step asks them, and come back.

Without a second device here, "away" is another dtype: a part in float64 that is used nevertheless
fails on float32 input or changes what is learned, and its way there and back loses no bit. Moving
between real devices is one call of torch's, which is all that this does not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from metrics.contract import Prompt
from tuner.data import TrainingSet
from tuner.events import Progress
from tuner.models import BaseModel, draw
from tuner.space import SuiteConfig, TrainConfig
from tuner.training import Checkpoint, memory, train

CONFIG = TrainConfig(rank=2, batch_size=2, resolution=32, learning_rate=1e-3)
SUITE = SuiteConfig(prompts=(Prompt("1girl"),), seeds=1, steps=1)
AWAY = torch.device("meta")
BOTH, VAE = {"vae", "text_encoder"}, {"vae"}


def in_float64(model: torch.nn.Module, place: torch.device) -> None:
    model.to(torch.float64 if place == AWAY else torch.float32)


def away(base: BaseModel) -> set[str]:
    parts = {name: getattr(base.pipeline, name) for name in ("unet", "vae", "text_encoder")}
    return {name for name, part in parts.items() if part.dtype == torch.float64}


def send_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_AWAY", AWAY)
    monkeypatch.setattr(memory, "_move", in_float64)


@pytest.fixture
def elsewhere(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    send_away(monkeypatch)
    yield
    assert away(base) == set()


def run(base: BaseModel, data: TrainingSet, folder: Path, config: TrainConfig) -> Path:
    *_, last = train(base, data, config, (1, 2), folder)
    assert isinstance(last, Checkpoint)
    return last.path


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, BOTH),
        ({"text_encoder_ratio": 0.5}, VAE),
        ({"method": "dreambooth", "tag_dropout": 0.5}, VAE),
        pytest.param({"first_captions": "gender"}, BOTH, marks=pytest.mark.slow),
        pytest.param({"shuffle_tags": True}, VAE, marks=pytest.mark.slow),
        pytest.param({"method": "dreambooth"}, BOTH, marks=pytest.mark.slow),
        pytest.param(
            {"method": "dreambooth", "text_encoder_ratio": 0.5}, BOTH, marks=pytest.mark.slow
        ),
    ],
)
def test_what_no_step_asks_is_away_and_the_same_is_learned(
    base: BaseModel,
    training_set: TrainingSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    expected: set[str],
) -> None:
    config = CONFIG.model_copy(update=settings)
    here = run(base, training_set, tmp_path / "here", config)
    send_away(monkeypatch)
    before = {name: weight.clone() for name, weight in base.pipeline.vae.state_dict().items()}
    pictures = draw(base.pipeline, SUITE, [0])[0]
    parts_away = []
    for outcome in train(base, training_set, config, (1, 2), tmp_path / "away"):
        if isinstance(outcome, Progress):
            parts_away.append(away(base))
        else:
            assert away(base) == set(), "back for sampling"
            drawn = draw(base.pipeline, SUITE, [0])[0]
            assert drawn.shape == pictures.shape
            last = outcome
    assert parts_away == [expected] * 2
    ours, theirs = load_file(here), load_file(last.path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    after = base.pipeline.vae.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert (draw(base.pipeline, SUITE, [0])[0] == pictures).all()


@pytest.mark.usefixtures("elsewhere")
def test_whoever_leaves_a_training_finds_all_parts_back(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    steps = train(base, training_set, CONFIG, (1, 9), tmp_path)
    for outcome in steps:
        if isinstance(outcome, Progress):
            assert away(base) == BOTH
            break
    steps.close()


@pytest.mark.usefixtures("elsewhere")
def test_a_step_that_fails_brings_them_back_too(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(base.pipeline.unet, "forward", fail)
    with pytest.raises(torch.OutOfMemoryError):
        list(train(base, training_set, CONFIG, (1,), tmp_path))


def test_on_a_processor_nothing_moves(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    def places() -> list[int]:
        parts = (base.pipeline.vae, base.pipeline.text_encoder)
        return [weight.data_ptr() for part in parts for weight in part.parameters()]

    before = places()
    for _ in train(base, training_set, CONFIG, (1, 2), tmp_path):
        assert places() == before
