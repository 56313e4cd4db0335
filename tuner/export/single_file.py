"""Write a base as one .safetensors file in the original layout.

A1111, Forge and ComfyUI read a whole model in this layout. diffusers reads it too, but cannot write
it. Names follow CompVis's latent-diffusion, and for text encoders transformers or open_clip.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes

from tuner.models.families import family_of
from tuner.models.stored import original_names as original
from tuner.models.stored.families import Layout
from tuner.models.stored.original_names import SingleFileError
from tuner.storage import replacing


def write_single_file(path: Path, pipeline: Any, metadata: Mapping[str, str]) -> None:
    """Write the whole model as float16, atomically, with the empty tensors `markers` names.

    Read it with the pipeline's own `from_single_file(path, config=FOLDER)`; FOLDER is a base
    of the same architecture in diffusers' layout. Raises SingleFileError for Stable Diffusion 2.x,
    whose text encoder is stored in open_clip's layout there.
    """
    layout = family_of(type(pipeline).__name__).LAYOUT
    if layout.encoders[0].open_clip and pipeline.text_encoder.config.hidden_act == "gelu":
        raise SingleFileError(
            "a Stable Diffusion 2.x is not written as one file; give a folder to write, without "
            "the ending .safetensors"
        )
    tensors = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in original_layout(pipeline, layout).items()
        if tensor.is_floating_point()
    }
    tensors |= {marker: torch.zeros(0) for marker in markers(pipeline)}
    with replacing(path) as temporary:
        temporary.write_bytes(to_bytes(tensors, metadata={"format": "pt", **metadata}))


def markers(pipeline: Any) -> tuple[str, ...]:
    """Return the names of empty tensors that mark a model with v-prediction, as is usual for SDXL.

    `v_pred`; also `ztsnr` if its noise ends without any signal (Lin et al. 2023).
    """
    config = pipeline.scheduler.config
    if config.get("prediction_type") != "v_prediction":
        return ()
    return ("v_pred", *["ztsnr"][: bool(config.get("rescale_betas_zero_snr"))])


def original_layout(pipeline: Any, layout: Layout) -> dict[str, torch.Tensor]:
    """Return the weights of UNet, VAE and text encoders by their original names.

    `logit_scale` of open_clip, which draws nothing, is left out.
    """
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
    for encoder in layout.encoders:
        weights = getattr(pipeline, encoder.part).state_dict()
        if encoder.clip:
            text = {encoder.clip + original.text_name(name): weights[name] for name in weights}
        else:
            text = {encoder.open_clip + name: weight for name, weight in _open_clip(weights)}
        named |= text
    return named


def _open_clip(weights: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a text encoder in open_clip's layout."""
    parts: dict[str, list[torch.Tensor]] = {}
    for place in ("q_proj", "k_proj", "v_proj", ""):  # the order in which they are joined
        for name, weight in weights.items():
            projection = re.search(r"\.([qkv]_proj)\.", name)
            if (projection[1] if projection else "") == place:
                parts.setdefault(original.open_clip_name(name), []).append(weight)
    for name, joined in parts.items():
        # Its matrix of the projection of a whole text is the other way round.
        yield name, joined[0].T if name == "text_projection" else torch.cat(joined)
