"""Precision, attention and memory use of a training step on this device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from tuner.models import BaseModel
from tuner.models.base import multiplies_bfloat16
from tuner.models.composed import composed
from tuner.space import TrainConfig
from tuner.training.attention import PlainAttention

_PLAIN_ATTENTION_PLACES = 32 * 32

_BYTES_PER_UNIT = 700
"""Activations of one picture for each latent place and channel of the UNet's first level.

From the 0.8 GiB of Stable Diffusion 1.5 at 512 x 512 (computed from its configuration, half
precision).
"""

_BYTES_PER_WEIGHT = 12
"""Gradient and AdamW's two moments, float32."""

_PARTS_OF_A_LORA = ("base_layer", "lora_")
"""Beginnings of the names that peft gives to the parts of a layer with a LoRA."""

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


def is_short(base: BaseModel, config: TrainConfig, weights: int) -> bool:
    """Return True if a step of `config` that trains `weights` numbers may not fit the GPU now.

    The main memory is not checked: on a CPU a step is too slow for large pictures anyway.
    """
    if base.device.type != "cuda":
        return False
    factor = int(base.pipeline.vae_scale_factor)
    places = (config.size[0] // factor) * (config.size[1] // factor)
    channels = int(base.pipeline.unet.config.block_out_channels[0])
    needed = config.batch_size * places * channels * _BYTES_PER_UNIT + weights * _BYTES_PER_WEIGHT
    return needed > torch.cuda.mem_get_info(base.device)[0]


@contextlib.contextmanager
def computed(
    unet: UNet2DConditionModel, places: int, checkpointing: bool, precision: str
) -> Iterator[None]:
    """Use what is faster on a CPU, and gradient checkpointing if wanted, for a while.

    `precision` is that of products, in the words of accelerate.

    On a CPU a LoRA is added to the weights first; on a GPU, with large layers and many places, that
    would be more work. Frozen weights are rounded once to the precision in which autocast
    multiplies, instead of at each use. The backward pass of the fused attention takes a quarter of
    a step there; plain attention needs memory for the square of the latent's `places`, so it is for
    small pictures. Gradient checkpointing (Chen et al. 2016) computes activations twice instead of
    keeping them, which costs a third more time.
    """
    before = unet.attn_processors
    on_cpu = unet.device.type == "cpu"
    if on_cpu and places <= _PLAIN_ATTENTION_PLACES:
        unet.set_attn_processor(PlainAttention())
    if checkpointing:
        unet.enable_gradient_checkpointing()
    try:
        with contextlib.ExitStack() as ways:
            if on_cpu:
                ways.enter_context(composed(unet))
                if precision == "bf16":
                    ways.enter_context(rounded(unet))
            yield
    finally:
        unet.set_attn_processor(before)
        if checkpointing:
            unet.disable_gradient_checkpointing()


@contextlib.contextmanager
def rounded(model: torch.nn.Module) -> Iterator[None]:
    """Keep the frozen weights of layers without a LoRA in bfloat16 for a while, as autocast does.

    Those of layers with a LoRA stay as they are, because they take part in sums.
    """
    frozen = _frozen_weights(model)
    before = [weight.data for weight in frozen]
    try:
        for weight in frozen:
            weight.data = weight.data.bfloat16()
        yield
    finally:
        for weight, data in zip(frozen, before, strict=True):
            weight.data = data


def _frozen_weights(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """Return the weights and biases that are not trained, of layers without a LoRA."""
    return [
        weight
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
        if not any(part.startswith(_PARTS_OF_A_LORA) for part in name.split("."))
        for weight in layer.parameters(recurse=False)
        if not weight.requires_grad
    ]


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
