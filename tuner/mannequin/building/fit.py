"""A resumable training loop for the small models: one seed, one state file, reproducible weights.

All randomness of a step comes from the seed and the step's number, so a stopped run continues as if
it had never been stopped.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_SAVE_EVERY_SECONDS = 60.0


class Fit:
    """Training state: AdamW with a one-cycle learning rate, averaged weights, a state file."""

    def __init__(
        self, module: nn.Module, steps: int, peak_rate: float, state: Path, average: float = 0.998
    ) -> None:
        """Prepare to train `module`, or load `state` if it exists.

        `average` is the decay of the weights' exponential moving average per step.
        """
        self.module, self.total, self.peak_rate, self.state = module, steps, peak_rate, state
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=peak_rate, weight_decay=1e-4, fused=True
        )
        self.average_decay = average
        self.average = {k: v.detach().clone() for k, v in module.state_dict().items()}
        self.first = 0
        if state.is_file():
            self._load()

    def steps(self, seed: int) -> Iterator[int]:
        """Yield the steps still to do, each with its own random state; save every minute."""
        began = saved = time.monotonic()
        for step in range(self.first, self.total):
            torch.manual_seed(seed * 1_000_003 + step)
            for group in self.optimizer.param_groups:
                group["lr"] = one_cycle(step, self.total, self.peak_rate)
            yield step
            now = time.monotonic()
            if now - saved > _SAVE_EVERY_SECONDS or step + 1 == self.total:
                self._save(step + 1)
                saved = now
                rate = (step + 1 - self.first) / (now - began)
                left = (self.total - step - 1) / rate
                name = self.state.stem
                message = f"{name}: step {step + 1}/{self.total}, {rate:.1f}/s, {left:.0f} s left"
                print(message, file=sys.stderr, flush=True)

    def descend(self, loss: Tensor) -> None:
        """Take one optimizer step against the gradient of `loss`."""
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for key, value in self.module.state_dict().items():
                if value.is_floating_point():
                    self.average[key].lerp_(value, 1 - self.average_decay)
                else:
                    self.average[key].copy_(value)

    def finish(self) -> nn.Module:
        """Return the module with its averaged weights, frozen and in evaluation mode."""
        self.module.load_state_dict(self.average)
        return self.module.eval().requires_grad_(False)

    def _save(self, done: int) -> None:
        tensors = {f"model.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        for index, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in entry.items()}
        tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
        part = self.state.with_suffix(".part")
        save_file(tensors, part, metadata={"step": str(done), "total": str(self.total)})
        os.replace(part, self.state)

    def _load(self) -> None:
        tensors = load_file(self.state)
        state = self.optimizer.state_dict()
        state["state"] = _nested(tensors, "optimizer.")
        self.optimizer.load_state_dict(state)
        self.module.load_state_dict(_under(tensors, "model."))
        for key, value in _under(tensors, "average.").items():
            self.average[key].copy_(value)
        steps = [int(v["step"]) for v in state["state"].values()]
        self.first = max(steps, default=0)


def one_cycle(step: int, total: int, peak: float) -> float:
    """Return the learning rate: linear rise over the first tenth, then a cosine to a hundredth."""
    rise = max(1, total // 10)
    if step < rise:
        return peak * (step + 1) / rise
    share = (step - rise) / max(1, total - rise)
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _nested(tensors: Mapping[str, Tensor], prefix: str) -> dict[int, dict[str, Tensor]]:
    nested: dict[int, dict[str, Tensor]] = {}
    for key, value in _under(tensors, prefix).items():
        index, name = key.split(".", 1)
        nested.setdefault(int(index), {})[name] = value
    return nested
