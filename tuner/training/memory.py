"""Precision and memory use of a training step on this device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from tuner.models import BaseModel
from tuner.models.base import multiplies_bfloat16
from tuner.models.on_cpu import quick_on_cpu
from tuner.space import TrainConfig

_BYTES_PER_WEIGHT = 12
"""Gradient and AdamW's two moments, float32."""

_AWAY = torch.device("cpu")
"""Device that idle models are offloaded to."""


def mixed_precision(base: BaseModel) -> str:
    """Return the precision of a step, in the words of accelerate: bf16, fp16 or no.

    Half precision if the base has it, and on a CPU that multiplies bfloat16 natively. Trained
    weights and their optimizer stay float32.
    """
    if base.device.type == "cpu" and multiplies_bfloat16(base.device):
        return "bf16"
    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(base.dtype, "no")


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return `tensor`, which is on the CPU, on `device`. Never waits for a GPU."""
    if device.type != "cuda":
        return tensor.to(device)
    # From other memory the copy would begin when all earlier work of the GPU has ended.
    return tensor.pin_memory().to(device, non_blocking=True)


def is_short(base: BaseModel, config: TrainConfig, weights: int) -> bool:
    """Return True if a step of `config` that trains `weights` numbers may not fit the GPU now.

    The main memory is not checked: on a CPU a step is too slow for large pictures anyway.
    """
    if base.device.type != "cuda":
        return False
    factor = int(base.pipeline.vae_scale_factor)
    places = (config.size[0] // factor) * (config.size[1] // factor)
    channels = int(base.pipeline.unet.config.block_out_channels[0])
    activations = config.batch_size * places * channels * base.family.STEP_BYTES
    return activations + weights * _BYTES_PER_WEIGHT > torch.cuda.mem_get_info(base.device)[0]


@contextlib.contextmanager
def computed(
    unet: UNet2DConditionModel, places: int, checkpointing: bool, precision: str
) -> Iterator[None]:
    """Use what is faster on a CPU, and gradient checkpointing if wanted, for a while.

    `precision` is that of products, in the words of accelerate.

    Gradient checkpointing (Chen et al. 2016) computes activations twice instead of keeping them,
    which costs a third more time.
    """
    if checkpointing:
        unet.enable_gradient_checkpointing()
    try:
        with quick_on_cpu(unet, places, half=precision == "bf16"):
            yield
    finally:
        if checkpointing:
            unet.disable_gradient_checkpointing()


@contextlib.contextmanager
def parked(base: BaseModel, idle: Sequence[Any]) -> Iterator[None]:
    """Offload the models `idle` of the base to main memory for a while.

    Of Stable Diffusion 1.5 in half precision the VAE and the text encoder are 0.4 GB. The models
    always come back, also after an error; on a CPU nothing moves.
    """
    moved = [] if base.device == _AWAY else idle
    try:
        for model in moved:
            _move(model, _AWAY)
        yield
    finally:
        for model in moved:
            _move(model, base.device)


def _move(model: Any, place: torch.device) -> None:
    model.to(place)
