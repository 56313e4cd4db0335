"""What a CPU computes faster another way, with the same result but for rounding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import Transformer2DModel, UNet2DConditionModel
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch.nn import functional

from tuner.models.composed import composed, computed_by, side_by_side

_PLAIN_ATTENTION_PLACES = 32 * 32

_FEWEST_PRODUCT_PLACES = 16 * 16
"""Places from which a 1 x 1 convolution is quicker as a product, its backward pass included."""

_PARTS_OF_A_LORA = ("base_layer", "lora_")
"""Beginnings of the names that peft gives to the parts of a layer with a LoRA."""


@contextmanager
def quick_on_cpu(unet: UNet2DConditionModel, places: int, *, half: bool) -> Iterator[None]:
    """Compute what is faster that way on a CPU, for a while; on a GPU nothing changes.

    A LoRA is added to the weights first: on a GPU, with large layers and many places, that would be
    more work. Projections of transformers and shortcuts of blocks are products, blocks leave out a
    division by 1, and gated layers compute value and gate as two products. Plain attention, whose
    backward pass is faster than the fused one's, needs memory for the square of the latent's
    `places`, so it is for small pictures. With `half`, frozen weights are rounded once to the
    bfloat16 in which autocast multiplies, instead of at each use.
    """
    if unet.device.type != "cpu":
        yield
        return
    with ExitStack() as ways:
        if places <= _PLAIN_ATTENTION_PLACES:
            ways.enter_context(computed_by(attention, filter(_is_plain, _parts(unet, Attention))))
        ways.enter_context(computed_by(_geglu, _parts(unet, GEGLU)))
        blocks = [block for block in _parts(unet, ResnetBlock2D) if _is_plain_block(block)]
        ways.enter_context(computed_by(_residual_block, blocks))
        shortcuts = filter(_is_frozen_convolution, (block.conv_shortcut for block in blocks))
        ways.enter_context(computed_by(_shortcut, shortcuts))
        ways.enter_context(composed(unet))
        ways.enter_context(_linear_projections(unet))
        if half:
            ways.enter_context(_rounded(unet))
        yield


def _parts(model: torch.nn.Module, kind: type[torch.nn.Module]) -> Iterable[Any]:
    return (part for part in model.modules() if type(part) is kind)


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


def _is_plain(attn: Attention) -> bool:
    """Return True for a layer that has only to attend."""
    norms = (attn.spatial_norm, attn.group_norm, attn.norm_cross, attn.norm_q, attn.norm_k)
    changes = attn.residual_connection or attn.upcast_attention or attn.upcast_softmax
    dropped = attn.to_out[1].p > 0
    return not any(norms) and not changes and not dropped and attn.rescale_output_factor == 1


def attention(
    attn: Attention,
    hidden_states: torch.Tensor,
    encoder_hidden_states: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    **others: Any,
) -> torch.Tensor:
    """Return a plain layer's output (batch, places, channels), as its own `forward` does.

    Layers with a LoRA that read the same are one product. Needs memory for the square of the number
    of places. With a mask the layer's own `forward` is called.
    """
    if attention_mask is not None:
        about = (hidden_states, encoder_hidden_states, attention_mask)
        masked: torch.Tensor = type(attn).forward(attn, *about, **others)
        return masked
    if encoder_hidden_states is None:
        query, key, value = _heads(attn, hidden_states, (attn.to_q, attn.to_k, attn.to_v))
    else:
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key, value = _heads(attn, encoder_hidden_states, (attn.to_k, attn.to_v))
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


def _heads(
    attn: Attention, states: torch.Tensor, layers: Sequence[torch.nn.Module]
) -> Sequence[torch.Tensor]:
    """Return what each of `layers` makes of `states`: (batch x heads, places, width)."""
    outputs = side_by_side(layers, states)
    if outputs is None:
        return [attn.head_to_batch_dim(layer(states)) for layer in layers]
    parts = outputs.view(*outputs.shape[:2], len(layers), attn.heads, -1)
    return parts.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind()


def _geglu(layer: GEGLU, hidden_states: torch.Tensor) -> torch.Tensor:
    """Return a gated layer's output, with value and gate as two products.

    A CPU's GELU is fast only on a tensor without gaps. A layer whose LoRA is not composed (DoRA,
    dropout) makes both at once, and the gate is copied.
    """
    proj = layer.proj
    weight = proj.weight if type(proj) is torch.nn.Linear else getattr(proj, "composed", None)
    if weight is None:
        value, gate = proj(hidden_states).chunk(2, dim=-1)
        gate = gate.contiguous()
    else:
        assert proj.bias is not None  # these layers of diffusers have one
        parts = zip(weight.chunk(2), proj.bias.chunk(2), strict=True)
        value, gate = (functional.linear(hidden_states, *part) for part in parts)
    output: torch.Tensor = value * functional.gelu(gate)
    return output


def _is_plain_block(block: ResnetBlock2D) -> bool:
    """Return True for a block that changes no size and adds its time embedding."""
    adds = block.time_embedding_norm == "default" and block.time_emb_proj is not None
    other = block.upsample or block.downsample or block.skip_time_act or block.dropout.p > 0
    return bool(adds and not other and block.output_scale_factor == 1)


def _residual_block(
    block: ResnetBlock2D, input_tensor: torch.Tensor, temb: torch.Tensor
) -> torch.Tensor:
    """Return a plain block's output; its own `forward` also divides all places by 1."""
    act = block.nonlinearity
    hidden = block.conv1(act(block.norm1(input_tensor)))
    hidden = hidden + block.time_emb_proj(act(temb))[:, :, None, None]
    hidden = block.conv2(act(block.norm2(hidden)))
    kept = input_tensor if block.conv_shortcut is None else block.conv_shortcut(input_tensor)
    output: torch.Tensor = kept + hidden
    return output


def _shortcut(layer: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """Return the output of a 1 x 1 convolution, made as one product a picture where that pays."""
    if x.shape[2:].numel() < _FEWEST_PRODUCT_PLACES:
        return type(layer).forward(layer, x)
    assert layer.bias is not None  # these layers of diffusers have one
    weight = layer.weight.flatten(1).expand(len(x), -1, -1)
    return torch.baddbmm(layer.bias[:, None], weight, x.flatten(2)).view(len(x), -1, *x.shape[2:])
