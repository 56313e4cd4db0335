"""Write a Stable Diffusion as one .safetensors file in the original layout.

A1111, Forge and ComfyUI read a whole model in this layout. diffusers reads it too, but cannot write
it. Names follow CompVis's latent-diffusion, and for the text encoder transformers'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save as to_bytes

from tuner.errors import TunerError
from tuner.storage import replacing

_UNET = (
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
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


def write_single_file(
    path: Path, pipeline: StableDiffusionPipeline, metadata: Mapping[str, str]
) -> None:
    """Write the whole model as float16, atomically, with the empty tensors `markers` names.

    Read it with `StableDiffusionPipeline.from_single_file(path, config=FOLDER)`; FOLDER is a base
    of the same architecture in diffusers' layout. Raises SingleFileError for Stable Diffusion 2.x,
    whose text encoder is stored in open_clip's layout there.
    """
    if pipeline.text_encoder.config.hidden_act == "gelu":
        raise SingleFileError(
            "a Stable Diffusion 2.x is not written as one file; give a folder to write, without "
            "the ending .safetensors"
        )
    tensors = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in original_layout(pipeline).items()
        if tensor.is_floating_point()
    }
    tensors |= {marker: torch.zeros(0) for marker in markers(pipeline)}
    with replacing(path) as temporary:
        temporary.write_bytes(to_bytes(tensors, metadata={"format": "pt", **metadata}))


def markers(pipeline: StableDiffusionPipeline) -> tuple[str, ...]:
    """Return the names of empty tensors that mark a model with v-prediction, as is usual for SDXL.

    `v_pred`; also `ztsnr` if its noise ends without any signal (Lin et al. 2023).
    """
    config = pipeline.scheduler.config
    if config.get("prediction_type") != "v_prediction":
        return ()
    return ("v_pred", *["ztsnr"][: bool(config.get("rescale_betas_zero_snr"))])


def original_layout(pipeline: StableDiffusionPipeline) -> dict[str, torch.Tensor]:
    """Return the weights of UNet, VAE and text encoder by their original names."""
    named: dict[str, torch.Tensor] = {}
    layers = int(pipeline.unet.config.layers_per_block)
    # The upsampler is third in the last layer of a block with attention, else second.
    attentive = [bool(getattr(block, "attentions", ())) for block in pipeline.unet.up_blocks]
    for name, tensor in pipeline.unet.state_dict().items():
        named["model.diffusion_model." + _unet_name(name, layers, attentive)] = tensor
    blocks = len(pipeline.vae.config.up_block_types)
    for name, tensor in pipeline.vae.state_dict().items():
        original = _vae_name(name, blocks)
        is_matrix = ".mid.attn_1." in original and tensor.ndim == 2
        # In the original layout these layers are 1 x 1 convolutions.
        named["first_stage_model." + original] = tensor[..., None, None] if is_matrix else tensor
    for name, tensor in pipeline.text_encoder.state_dict().items():
        plain = name.removeprefix("text_model.")
        named[f"cond_stage_model.transformer.text_model.{plain}"] = tensor
    return named


def _unet_name(name: str, layers: int, attentive: list[bool]) -> str:
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


def _vae_name(name: str, blocks: int) -> str:
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
