"""A training step: LoRAs that are added to the weights first, and values that the host reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.utils._python_dispatch import TorchDispatchMode

from tuner.data import TrainingSet
from tuner.models import BaseModel, adapter, on_cpu
from tuner.space import TrainConfig
from tuner.training.loop import Trainer
from tuner.training.memory import computed
from tuner.training.run import ADAPTER, Run, batches_of

SMALL = TrainConfig(rank=2, batch_size=4, learning_rate=1e-2, resolution=32)
WITH_TEXT = SMALL.model_copy(update={"text_encoder_ratio": 0.5, "alias": "mi_cv", "seed": 7})


@pytest.fixture
def _own_precision() -> Iterator[None]:
    """A process has one precision for all of its Accelerators: this test leaves none behind."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("_own_precision")
def test_composed_weights_learn_what_separate_ones_learn(
    base: BaseModel, training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32: bfloat16 rounds both ways of computing, differently."""
    config = WITH_TEXT.model_copy(update={"learning_rate": 1e-3})

    def learned() -> torch.Tensor:
        batches, accelerator = batches_of(base, training_set, config, 5), Accelerator(cpu=True)
        try:
            training = Run(base, accelerator, config, batches, 5)
            trainer = Trainer(base, accelerator, training)
            with computed(base.pipeline.unet, trainer.places, checkpointing=False, precision="no"):
                for step in range(5):
                    trainer.step(step)
            return torch.cat([weight.detach().flatten() for weight in training.weights])
        finally:
            adapter.detach(base, ADAPTER)

    together = learned()
    monkeypatch.setattr(on_cpu, "composed", lambda unet: contextlib.nullcontext())
    apart = learned()
    assert not torch.equal(together, apart)  # the two ways did differ
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


class Waits(TorchDispatchMode):
    """Counts the times that the host reads a value of a tensor."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func.overloadpacket is torch.ops.aten._local_scalar_dense
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("_own_precision")
def test_a_step_never_waits_for_the_device(base: BaseModel, training_set: TrainingSet) -> None:
    batches, accelerator = batches_of(base, training_set, SMALL, 5), Accelerator(cpu=True)
    try:
        trainer = Trainer(base, accelerator, Run(base, accelerator, SMALL, batches, 5))
        with Waits() as waits:
            trainer.step(0)
        assert waits.count == 0
        with waits:
            trainer.read_loss(1)
        assert waits.count == 1
    finally:
        adapter.detach(base, ADAPTER)
