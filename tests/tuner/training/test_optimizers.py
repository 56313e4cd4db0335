from __future__ import annotations

import importlib.util

import pytest
import torch

from tuner.errors import ConfigError
from tuner.space import TrainConfig
from tuner.training.optimizers import Lion, optimizers, require, schedules


def groups(*rates: float) -> list[dict[str, object]]:
    return [{"params": [torch.nn.Parameter(torch.full((3,), 2.0))], "lr": rate} for rate in rates]


def config(**values: object) -> TrainConfig:
    return TrainConfig.model_validate(values)


def test_lion_moves_each_weight_by_its_rate_against_the_sign() -> None:
    """Chen et al. 2023, algorithm 2, two steps by hand."""
    weight = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = Lion([{"params": [weight], "lr": 0.1, "weight_decay": 0.0}])
    weight.grad = torch.tensor([5.0, -0.01])
    optimizer.step()
    assert torch.allclose(weight, torch.tensor([0.9, 1.1]))
    # Momentum is 0.01 x (5, -0.01); 0.9 of it and a tenth of the new gradient decide.
    weight.grad = torch.tensor([-0.4, -1.0])
    optimizer.step()
    assert torch.allclose(weight, torch.tensor([0.8, 1.2]))


def test_lion_shrinks_weights_and_leaves_those_without_gradient() -> None:
    moved, left = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = Lion([{"params": [moved, left], "lr": 0.1, "weight_decay": 0.5}])
    moved.grad = torch.zeros(1)
    optimizer.step()
    assert (moved.item(), left.item()) == (pytest.approx(0.95), 1.0)


@pytest.mark.parametrize("name", ["adamw", "lion", "prodigy"])
def test_every_optimizer_finds_the_minimum_of_a_parabola(name: str) -> None:
    rate = 1.0 if name == "prodigy" else 0.05
    parts = groups(rate, rate / 2)
    moving = optimizers(parts, config(optimizer=name))
    weights = [part["params"][0] for part in parts]  # type: ignore[index]
    for _ in range(300):
        sum(weight.square().sum() for weight in weights).backward()
        for optimizer in moving:
            optimizer.step()
            optimizer.zero_grad()
    assert all(weight.abs().max() < 0.1 for weight in weights)


def test_prodigy_keeps_the_text_encoders_share() -> None:
    """One instance refuses groups of two rates; one for each group takes them."""
    unet, text = optimizers(groups(1.0, 0.2), config(optimizer="prodigy"))
    assert (unet.param_groups[0]["lr"], text.param_groups[0]["lr"]) == (1.0, 0.2)


def test_eight_bits_need_a_gpu_and_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    require(["adamw", "lion"])
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"needs a CUDA device .* take adamw"):
            optimizers(groups(0.1), config(optimizer="adamw8bit"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(ConfigError, match=r"pip install 'tuner\[8bit\]'"):
            require(["adamw8bit"])


def rates(steps: int, **values: object) -> list[float]:
    settings = config(**values)
    (optimizer,) = optimizers(groups(1.0), settings)
    rates_used = []
    scheduled = schedules([optimizer], settings, steps)
    for _ in range(steps):
        rates_used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for schedule in scheduled:
            schedule.step()
    return rates_used


def test_schedules() -> None:
    assert rates(4) == [1.0] * 4
    assert rates(5, warmup_steps=2) == [0.0, 0.5, 1.0, 1.0, 1.0]
    cosine = rates(100, schedule="cosine")
    assert cosine[0] == 1.0
    assert cosine[50] == pytest.approx(0.5)
    assert 0 < cosine[-1] < 0.01
    warmed = rates(100, schedule="cosine", warmup_steps=10)
    assert warmed.index(max(warmed)) == 10
