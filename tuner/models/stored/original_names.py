"""Names of a base's tensors in the original layout, from those of diffusers.

The original layout is that of a single checkpoint file: the names are those of CompVis's
latent-diffusion, and for text encoders those of transformers or open_clip.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tuner.errors import TunerError

UNET, VAE = "model.diffusion_model.", "first_stage_model."
"""Prefixes of the two parts in a checkpoint file; those of text encoders are their family's."""

_UNET = (
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("add_embedding.linear_1.", "label_emb.0.0."),
    ("add_embedding.linear_2.", "label_emb.0.2."),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
    ("mid_block.resnets.0.", "middle_block.0."),
    ("mid_block.attentions.0.", "middle_block.1."),
    ("mid_block.resnets.1.", "middle_block.2."),
)
_UNET_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_BLOCK = re.compile(
    r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)"
)
_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
    "text_projection.weight": "text_projection",
}
_OPEN_CLIP_LAYER = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "layer_norm2": "ln_2",
}
_JOINED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_CLIP_LAYER = re.compile(
    rf"encoder\.layers\.(\d+)\.({'|'.join([*_JOINED, *_OPEN_CLIP_LAYER])})\.(weight|bias)"
)
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}
_VAE_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.+)")


class SingleFileError(TunerError):
    """A model for which the original layout has no names."""


def unet_name(name: str, layers: int, attentive: Sequence[bool]) -> str:
    """Return the original name of a tensor of the UNet, without the prefix UNET.

    `layers` is the number of layers of a block, `attentive` whether each up block has attention.
    Raises SingleFileError for a name that the original layout does not know.
    """
    for prefix, original in _UNET:
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            return original + (_residual(rest) if ".resnets." in prefix else rest)
    match = _UNET_BLOCK.fullmatch(name)
    if match is None:
        raise SingleFileError(f"the original layout has no name for {name} of the UNet")
    way, kind, rest = match[1], match[3], match[5]
    block, layer = int(match[2]), int(match[4])
    if way == "down":
        first = 1 + block * (layers + 1)
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0.op.{rest.removeprefix('conv.')}"
        stem = f"input_blocks.{first + layer}"
    else:
        first = block * (layers + 1)
        if kind == "upsamplers":
            return f"output_blocks.{first + layers}.{2 if attentive[block] else 1}.{rest}"
        stem = f"output_blocks.{first + layer}"
    return f"{stem}.0.{_residual(rest)}" if kind == "resnets" else f"{stem}.1.{rest}"


def _residual(rest: str) -> str:
    part, _, kind = rest.rpartition(".")
    return f"{_UNET_RESIDUAL[part]}.{kind}"


def text_name(name: str) -> str:
    """Return the original name of a tensor of CLIP's text encoder, without the prefix of it."""
    return f"text_model.{name.removeprefix('text_model.')}"


def open_clip_name(name: str) -> str:
    """Return the name in open_clip's layout of a tensor of CLIP's text encoder, without a prefix.

    The projections of query, key and value of a layer have one name: they are joined there.
    """
    name = name.removeprefix("text_model.")
    if name in _OPEN_CLIP:
        return _OPEN_CLIP[name]
    match = _CLIP_LAYER.fullmatch(name)
    if match is None:
        raise SingleFileError(f"open_clip's layout has no name for {name} of the text encoder")
    number, part, kind = match.groups()
    if part in _JOINED:
        return f"transformer.resblocks.{number}.attn.in_proj_{kind}"
    return f"transformer.resblocks.{number}.{_OPEN_CLIP_LAYER[part]}.{kind}"


def vae_name(name: str, blocks: int) -> str:
    """Return the original name of a tensor of the VAE with `blocks` up blocks, without VAE."""
    coder, _, rest = name.partition(".")
    if coder not in ("encoder", "decoder"):
        return name  # quant_conv, post_quant_conv
    if rest.startswith("conv_norm_out."):
        return f"{coder}.{rest.replace('conv_norm_out', 'norm_out')}"
    if rest.startswith("mid_block.attentions.0."):
        part, _, kind = rest.removeprefix("mid_block.attentions.0.").rpartition(".")
        return f"{coder}.mid.attn_1.{_VAE_ATTENTION[part]}.{kind}"
    if rest.startswith("mid_block.resnets."):
        number, _, inner = rest.removeprefix("mid_block.resnets.").partition(".")
        return f"{coder}.mid.block_{int(number) + 1}.{_shortcut(inner)}"
    match = _VAE_BLOCK.fullmatch(rest)
    if match is None:
        return name  # conv_in, conv_out
    way, block, kind, layer, inner = match[1], int(match[2]), match[3], match[4], match[5]
    if way == "up":
        block = blocks - 1 - block  # the two layouts count the blocks in opposite directions
    if kind == "resnets":
        return f"{coder}.{way}.{block}.block.{layer}.{_shortcut(inner)}"
    return f"{coder}.{way}.{block}.{way}sample.{inner}"


def _shortcut(inner: str) -> str:
    return inner.replace("conv_shortcut", "nin_shortcut")
