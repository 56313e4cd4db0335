"""Write a Stable Diffusion as one .safetensors file in the original layout.

A1111, Forge and ComfyUI read a whole model in this layout. diffusers reads it too, but cannot write
it. Names follow CompVis's latent-diffusion, and for the text encoder transformers'.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save as to_bytes

from tuner.models.stored import original_names as original
from tuner.models.stored.original_names import SingleFileError
from tuner.storage import replacing


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
        named[original.UNET + original.unet_name(name, layers, attentive)] = tensor
    blocks = len(pipeline.vae.config.up_block_types)
    for name, tensor in pipeline.vae.state_dict().items():
        plain = original.vae_name(name, blocks)
        is_matrix = ".mid.attn_1." in plain and tensor.ndim == 2
        # In the original layout these layers are 1 x 1 convolutions.
        named[original.VAE + plain] = tensor[..., None, None] if is_matrix else tensor
    for name, tensor in pipeline.text_encoder.state_dict().items():
        named[original.TEXT + original.text_name(name)] = tensor
    return named
