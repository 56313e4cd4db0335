"""What a CPU computes faster another way, with the same result but for rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import Transformer2DModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor

from tuner.models.composed import composed

_PLAIN_ATTENTION_PLACES = 32 * 32

_PARTS_OF_A_LORA = ("base_layer", "lora_")
"""Beginnings of the names that peft gives to the parts of a layer with a LoRA."""


@contextmanager
def quick_on_cpu(unet: UNet2DConditionModel, places: int, *, half: bool) -> Iterator[None]:
    """Compute what is faster that way on a CPU, for a while; on a GPU nothing changes.

    A LoRA is added to the weights first: on a GPU, with large layers and many places, that would be
    more work. The projections of transformers are linear layers. Plain attention, whose backward
    pass is faster than the fused one's, needs memory for the square of the latent's `places`, so it
    is for small pictures. With `half`, frozen weights are rounded once to the bfloat16 in which
    autocast multiplies, instead of at each use.
    """
    if unet.device.type != "cpu":
        yield
        return
    with ExitStack() as ways:
        if places <= _PLAIN_ATTENTION_PLACES:
            ways.enter_context(_plain_attention(unet))
        ways.enter_context(composed(unet))
        ways.enter_context(_linear_projections(unet))
        if half:
            ways.enter_context(_rounded(unet))
        yield


@contextmanager
def _plain_attention(unet: UNet2DConditionModel) -> Iterator[None]:
    before = unet.attn_processors
    unet.set_attn_processor(PlainAttention())
    try:
        yield
    finally:
        unet.set_attn_processor(before)


@contextmanager
def _linear_projections(model: torch.nn.Module) -> Iterator[None]:
    """Make the frozen 1 x 1 convolutions into and out of the transformers linear for a while.

    Such a convolution first rearranges its channels, and leaves the places of all that follows
    transposed. Linear ones are another form of the same transformers, as in Stable Diffusion 2.
    """
    changed = [
        (part, part.proj_in, part.proj_out)
        for part in model.modules()
        if isinstance(part, Transformer2DModel) and not part.use_linear_projection
        if _is_frozen_convolution(part.proj_in) and _is_frozen_convolution(part.proj_out)
    ]
    try:
        for part, into, out in changed:
            part.use_linear_projection = True
            part.proj_in, part.proj_out = _linear(into), _linear(out)
        yield
    finally:
        for part, into, out in changed:
            part.use_linear_projection = False
            part.proj_in, part.proj_out = into, out


def _is_frozen_convolution(layer: Any) -> bool:
    return isinstance(layer, torch.nn.Conv2d) and not layer.weight.requires_grad


def _linear(convolution: torch.nn.Conv2d) -> torch.nn.Linear:
    """Return the linear layer over channels that a 1 x 1 `convolution` is, with the same memory."""
    outputs, inputs = convolution.weight.shape[:2]
    layer = torch.nn.Linear(inputs, outputs, device="meta")
    layer.weight = torch.nn.Parameter(convolution.weight.flatten(1), requires_grad=False)
    assert isinstance(convolution.bias, torch.nn.Parameter)  # these layers of diffusers have one
    layer.bias = convolution.bias
    layer.register_forward_pre_hook(_contiguous)
    return layer


def _contiguous(_: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """Return the input with its channels together: a product of others takes thrice as long."""
    return (inputs[0].contiguous(),)


@contextmanager
def _rounded(model: torch.nn.Module) -> Iterator[None]:
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


class PlainAttention:
    """Attention of a Stable Diffusion UNet over flat places, without mask or norms of its own.

    It computes what diffusers' `AttnProcessor` does, without the steps that do nothing there; other
    layers are left to that. Needs memory for the square of the number of places.
    """

    def __init__(self) -> None:
        """Create the processor of any number of layers."""
        self._other = AttnProcessor()

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        *others: Any,
        **named: Any,
    ) -> torch.Tensor:
        """Return the layer's output (batch, places, channels)."""
        if attention_mask is not None or not _is_plain(attn):
            about = (encoder_hidden_states, attention_mask, *others)
            other: torch.Tensor = self._other(attn, hidden_states, *about, **named)
            return other
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(seen), attn.to_v(seen)
        query, key, value = (attn.head_to_batch_dim(each) for each in (query, key, value))
        # In float32: a CPU takes half as long again for softmax in bfloat16.
        weights = torch.baddbmm(
            query.new_empty(1).expand(len(query), query.shape[1], key.shape[1]),
            query,
            key.transpose(1, 2),
            beta=0,
            alpha=attn.scale,
        ).softmax(dim=-1, dtype=torch.float32)
        seen = attn.batch_to_head_dim(torch.bmm(weights.to(value.dtype), value))
        output: torch.Tensor = attn.to_out[0](seen)
        return output


def _is_plain(attn: Attention) -> bool:
    """Return True for a layer whose processor has only to attend."""
    norms = (attn.spatial_norm, attn.group_norm, attn.norm_cross, attn.norm_q, attn.norm_k)
    changes = attn.residual_connection or attn.upcast_attention or attn.upcast_softmax
    dropped = attn.to_out[1].p > 0
    return not any(norms) and not changes and not dropped and attn.rescale_output_factor == 1
