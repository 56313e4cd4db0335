"""Stable Diffusion XL at its full size without weights: networks on the meta device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tuner.export.single_file import original_layout
from tuner.models.stored.architecture import Shape
from tuner.models.stored.families import STABLE_DIFFUSION_XL, STABLE_DIFFUSION_XL_10

LEFT_OUT: dict[str, Shape] = {
    "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": (1, 77),
    "conditioner.embedders.1.model.logit_scale": (),
}
"""Tensors of the published file that no network of diffusers and transformers has."""


def exact_pipeline() -> Any:
    """Return the four networks of the shipped configuration, without numbers."""
    folder = STABLE_DIFFUSION_XL_10
    with torch.device("meta"):
        return SimpleNamespace(
            unet=UNet2DConditionModel.from_config(
                UNet2DConditionModel.load_config(folder / "unet")
            ),
            vae=AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae")),
            text_encoder=CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder")),
            text_encoder_2=CLIPTextModelWithProjection(
                CLIPTextConfig.from_pretrained(folder / "text_encoder_2")
            ),
        )


def exact_shapes() -> dict[str, Shape]:
    """Return the shapes of all tensors of sd_xl_base_1.0.safetensors by name."""
    named = original_layout(exact_pipeline(), STABLE_DIFFUSION_XL)
    return {name: tuple(tensor.shape) for name, tensor in named.items()} | LEFT_OUT
