"""CUDA graphs of training steps: what they learn, and what happens where there can be none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tuner.data import TrainingSet
from tuner.models import BaseModel, load_base
from tuner.space import TrainConfig
from tuner.training import Checkpoint, train
from tuner.training.graphs import EAGER_PASSES, Graphs, Inputs

SMALL = TrainConfig(rank=2, batch_size=2, learning_rate=1e-3, resolution=32)

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU records")
def test_what_cannot_be_recorded_is_computed_as_it_is() -> None:
    total, graphs = torch.zeros(2), Graphs(enabled=True)

    def add(inputs: Inputs) -> None:
        total.add_(inputs["value"])

    for number in range(EAGER_PASSES):
        graphs.run(add, {"value": torch.tensor([1.0, number])}, "sum")
    with pytest.warns(UserWarning, match="slower, no CUDA graph could be made: ."):
        graphs.run(add, {"value": torch.tensor([1.0, 5.0])}, "sum")
    graphs.run(add, {"value": torch.tensor([1.0, 7.0])}, "sum")  # without a second warning
    assert total.tolist() == [EAGER_PASSES + 2, 5 + 7 + sum(range(EAGER_PASSES))]


@on_gpu
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"gradient_accumulation": 2, "min_snr_gamma": 5.0},
        {"text_encoder_ratio": 0.5, "shuffle_tags": True},
        {"buckets": True, "optimizer": "lion"},
        {"target_modules": "attention+feed_forward+convolutions", "use_dora": True},
    ],
    ids=lambda changed: ", ".join(changed) or "plain",
)
def test_recorded_steps_learn_what_others_learn(
    changed: dict[str, Any], training_set: TrainingSet, tmp_path: Path
) -> None:
    base = load_base("mannequin", "cuda")
    config = SMALL.model_copy(update=changed)
    loose, again, graphs = (
        learned(base, training_set, config, tmp_path / name, name == "graphs")
        for name in ("loose", "again", "graphs")
    )
    # A GPU adds in another order each time: two runs without graphs differ as much.
    assert (graphs - loose).norm() <= 3 * (again - loose).norm() + 1e-3 * loose.norm()


@on_gpu
def test_forms_take_turns() -> None:
    total = torch.zeros((), device="cuda")

    def add(inputs: Inputs) -> None:
        total.add_(inputs["value"].square().sum())

    graphs, expected = Graphs(enabled=True), 0
    for number in range(40):
        size = 1 + number % 3 if number < 30 else 7
        graphs.run(add, {"value": torch.full((size,), float(number), device="cuda")}, "sum")
        expected += size * number**2
    assert float(total) == expected
    assert graphs.enabled


def learned(
    base: BaseModel, data: TrainingSet, config: TrainConfig, folder: Path, graphs: bool
) -> torch.Tensor:
    base.graphs = graphs
    *_, last = train(base, data, config, (4, 10), folder)
    assert isinstance(last, Checkpoint)
    return torch.cat([tensor.float().flatten() for tensor in load_file(last.path).values()])
