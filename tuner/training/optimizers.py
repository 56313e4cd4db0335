"""Optimizers and learning-rate schedules of a training run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, overload

import torch
from diffusers.optimization import get_scheduler

from tuner.errors import ConfigError
from tuner.space import TrainConfig

WEIGHT_DECAY = 0.01
"""torch's default for AdamW, used for all: each step shrinks weights by this x the rate."""

Groups = list[dict[str, Any]]
"""Parameter groups: `params`, and `lr`, the learning rate of this part of the model."""


class Lion(torch.optim.Optimizer):
    """Lion: the sign of an interpolated momentum (Chen et al. 2023, algorithm 2).

    Every weight moves by exactly its rate, so rates are 3 to 10 times smaller than AdamW's.
    """

    def __init__(self, params: Groups, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        """Create the optimizer; `params` are groups, each with its `lr`."""
        super().__init__(params, {"lr": 1e-4, "weight_decay": WEIGHT_DECAY, "betas": betas})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every weight that has a gradient; a closure is not called."""
        for group in self.param_groups:
            near, far = group["betas"]
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            momenta = [
                self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                for weight in weights
            ]
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            directions = torch._foreach_lerp(momenta, gradients, 1 - near)
            torch._foreach_sign_(directions)
            torch._foreach_add_(weights, directions, alpha=-group["lr"])
            torch._foreach_lerp_(momenta, gradients, 1 - far)
        return None


def optimizers(groups: Groups, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return the optimizers of `groups`, of the kind `config.optimizer`.

    Prodigy (Mishchenko & Defazio 2023) finds its step sizes itself and uses `learning_rate`,
    usually 1, as a factor; it supports one rate only, so each group has an optimizer of its own.
    Raises ConfigError if `adamw8bit` cannot run.
    """
    match config.optimizer:
        case "adamw":
            return [torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY, fused=True)]
        case "lion":
            return [Lion(groups)]
        case "prodigy":
            return [_prodigy(group, config) for group in groups]
        case "adamw8bit":
            require([config.optimizer])
            from bitsandbytes.optim import AdamW8bit

            return [AdamW8bit(groups, weight_decay=WEIGHT_DECAY)]


def schedules(
    optimizers: Sequence[torch.optim.Optimizer], config: TrainConfig, steps: int
) -> list[torch.optim.lr_scheduler.LRScheduler]:
    """Return the schedulers that set the rates after each of `steps`; none for a constant rate.

    The rate rises linearly over `warmup_steps`; then it is constant, or falls to 0 along a cosine.
    """
    if config.schedule == "constant" and config.warmup_steps == 0:
        return []
    name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    return [
        get_scheduler(
            name, optimizer, num_warmup_steps=config.warmup_steps, num_training_steps=steps
        )
        for optimizer in optimizers
    ]


def require(names: Iterable[object]) -> None:
    """Raise ConfigError if one of the optimizers `names` cannot run on this machine."""
    if "adamw8bit" not in names:
        return
    if not torch.cuda.is_available():
        raise ConfigError(
            "optimizer adamw8bit needs a CUDA device and there is none here; take adamw"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "optimizer adamw8bit needs bitsandbytes, which is not installed: "
            "pip install 'tuner[8bit]', or take adamw"
        )


def _prodigy(group: Mapping[str, Any], config: TrainConfig) -> torch.optim.Optimizer:
    from prodigyopt import Prodigy

    # As diffusers' and kohya's scripts set it: without them a warm-up inflates the estimate.
    optimizer: torch.optim.Optimizer = Prodigy(
        [dict(group)],
        lr=group["lr"],
        weight_decay=WEIGHT_DECAY,
        use_bias_correction=True,
        safeguard_warmup=config.warmup_steps > 0,
    )
    return optimizer
