"""DreamBooth: trained whole, sampled from its file, the base untouched."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors import safe_open

from tests.tuner.models.test_adapter import outputs, same
from tests.tuner.training.test_loop import run
from tuner.data import TrainingSet
from tuner.models import BaseModel, dreambooth, load_base, method
from tuner.space import TrainConfig
from tuner.training import Checkpoint, train

WHOLE = TrainConfig(
    method="dreambooth", batch_size=2, learning_rate=1e-3, resolution=32, text_encoder_ratio=0.5
)


def test_the_whole_model_is_trained_and_the_base_stays_as_it_was(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    before = outputs(base)
    with closing(train(base, training_set, WHOLE, (2, 4), tmp_path)) as steps:
        checkpoints = []
        for outcome in steps:
            if isinstance(outcome, Checkpoint):
                checkpoints.append(outcome)
                assert same(outputs(base), before)
                with method.loaded(base, outcome.path):
                    assert not same(outputs(base), before)
                assert same(outputs(base), before)
    first, last = (checkpoint.path for checkpoint in checkpoints)
    assert last.name == "weights.safetensors"
    assert not first.exists()  # only the last rung's are kept
    assert last.is_file()
    assert not any(weight.requires_grad for weight in base.pipeline.unet.parameters())
    weights = dreambooth.read(last)
    for part in ("unet", "text_encoder"):
        own = getattr(base.pipeline, part).state_dict()
        assert set(weights[part]) == {name for name in own if own[name].is_floating_point()}
        moved = [
            name
            for name, weight in weights[part].items()
            if (weight - own[name]).abs().max() > 1e-4
        ]
        assert len(moved) > 0.8 * len(weights[part])
    with safe_open(last, framework="pt") as opened:
        metadata = opened.metadata()
    assert metadata["tuner.method"] == "dreambooth"
    assert "ss_network_dim" not in metadata


def test_without_a_ratio_the_unet_alone_is_trained_and_learns(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    config = WHOLE.model_copy(update={"text_encoder_ratio": 0.0, "batch_size": 4})
    first, last = run(base, training_set, config, tmp_path, rungs=(5, 15))
    assert set(dreambooth.read(last.path)) == {"unet"}
    assert last.loss < 0.95 * first.loss


def test_a_base_in_half_precision_is_trained_in_float32(
    tiny_base: Path, training_set: TrainingSet, tmp_path: Path
) -> None:
    half = load_base(str(tiny_base), "cpu")
    half.pipeline.to(torch.bfloat16)
    for kind, more in (("dreambooth", {}), ("lora", {"use_dora": True, "lora_dropout": 0.1})):
        AcceleratorState._reset_state(reset_partial_state=True)
        config = WHOLE.model_copy(update={"method": kind, "rank": 2, **more})
        (checkpoint,) = run(half, training_set, config, tmp_path / kind, rungs=(2,))
        assert 0 < checkpoint.loss < 10
        assert {weight.dtype for weight in half.pipeline.unet.parameters()} == {torch.bfloat16}
        with method.loaded(half, checkpoint.path), torch.no_grad():
            drawn = half.pipeline.text_encoder(torch.arange(77)[None])[0]
            assert drawn.dtype == torch.bfloat16
            assert drawn.isfinite().all()
    AcceleratorState._reset_state(reset_partial_state=True)


def test_weights_of_another_base_are_refused_and_leave_no_trace(
    base: BaseModel, tmp_path: Path
) -> None:
    before = outputs(base)
    path = tmp_path / "weights.safetensors"
    dreambooth.save({"unet": torch.nn.Linear(2, 2)}, path, {})
    refused = pytest.raises(dreambooth.WeightsError, match="another base")
    with refused, method.loaded(base, path):
        pass
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(dreambooth.WeightsError, match="no whole file"):
        dreambooth.put_on(base, path)
    assert same(outputs(base), before)
