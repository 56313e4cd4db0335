"""How a training step is computed on this device: precision, attention, what is kept there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from tuner.models import BaseModel
from tuner.models.base import multiplies_bfloat16
from tuner.space import TrainConfig

_PLAIN_ATTENTION_PLACES = 32 * 32

_BYTES_PER_UNIT = 700
"""Activations of one picture for each latent place and channel of the UNet's first level: the
0.8 GiB of Stable Diffusion 1.5 at 512 x 512 (counted on its configuration, half precision)."""

_BYTES_PER_WEIGHT = 12
"""Gradient and AdamW's two moments, float32."""

_AWAY = torch.device("cpu")
"""Where models wait that no training step asks."""


def mixed_precision(base: BaseModel) -> str:
    """Half precision where the base has it, and on a CPU that multiplies bfloat16 by itself;
    trained weights and their optimizer stay float32."""
    if base.device.type == "cpu" and multiplies_bfloat16(base.device):
        return "bf16"
    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(base.dtype, "no")


def is_short(base: BaseModel, config: TrainConfig, weights: int) -> bool:
    """Whether a step of `config` that trains `weights` numbers may not fit the GPU as it is now.

    A processor's memory is not asked: there a step is too slow for large pictures anyway.
    """
    if base.device.type != "cuda":
        return False
    factor = int(base.pipeline.vae_scale_factor)
    places = (config.size[0] // factor) * (config.size[1] // factor)
    channels = int(base.pipeline.unet.config.block_out_channels[0])
    needed = config.batch_size * places * channels * _BYTES_PER_UNIT + weights * _BYTES_PER_WEIGHT
    return needed > torch.cuda.mem_get_info(base.device)[0]


@contextlib.contextmanager
def computed(unet: UNet2DConditionModel, places: int, checkpointing: bool) -> Iterator[None]:
    """For a while: the quicker attention on a CPU, and activations computed twice, not kept.

    On a CPU the fused attention's backward pass takes a quarter of a step; the plain one's memory
    grows with the square of the latent's `places`, so it is for small pictures. Gradient
    checkpointing (Chen et al. 2016) costs a third more time.
    """
    before = unet.attn_processors
    if unet.device.type == "cpu" and places <= _PLAIN_ATTENTION_PLACES:
        unet.set_attn_processor(AttnProcessor())
    if checkpointing:
        unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        unet.set_attn_processor(before)
        if checkpointing:
            unet.disable_gradient_checkpointing()


@contextlib.contextmanager
def parked(base: BaseModel, idle: Sequence[Any]) -> Iterator[None]:
    """For a while: the models `idle` of the base wait in the machine's memory, off its device.

    Of Stable Diffusion 1.5 in half precision the VAE and the text encoder are 0.4 GB. They come
    back whatever happens; on a CPU nothing moves.
    """
    moved = [] if base.device == _AWAY else idle
    try:
        for one in moved:
            _move(one, _AWAY)
        yield
    finally:
        for one in moved:
            _move(one, base.device)


def _move(model: Any, place: torch.device) -> None:
    model.to(place)
