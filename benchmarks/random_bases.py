"""Bases of the exact size of Stable Diffusion 1.5 and XL with random weights: no hub is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tuner.models import BaseModel
from tuner.models.clip_tokenizer import all_merges, clip_tokenizer
from tuner.models.stored.families import STABLE_DIFFUSION_15, STABLE_DIFFUSION_XL_10

SIDES = {"sd15": 512, "sdxl": 1024}
"""Native sizes of the bases in pixels."""


def random_base(name: str, device: torch.device) -> BaseModel:
    """Return the base `name` of SIDES, as `load_base` gives one.

    Its weights are bfloat16 on a GPU and float32 on a processor; those of `sdxl` are bfloat16
    there too, because 24 GiB do not hold more.
    """
    half = device.type == "cuda" or name == "sdxl"
    before, dtype = torch.get_default_dtype(), torch.bfloat16 if half else torch.float32
    torch.set_default_dtype(dtype)  # so that no float32 weights are made first
    try:
        with device:
            pipeline = _sd15() if name == "sd15" else _sdxl()
    finally:
        torch.set_default_dtype(before)
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False)
            part.eval()
            part.to(dtype)  # transformers makes the parts that its configuration says otherwise
    base = BaseModel(f"random_{name}", pipeline, device, native_size=SIDES[name])
    base.family.prepare(pipeline)
    return base


def _sd15() -> StableDiffusionPipeline:
    folder = STABLE_DIFFUSION_15
    return StableDiffusionPipeline(
        **_networks(folder),
        text_encoder=CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder")),
        tokenizer=clip_tokenizer(all_merges()),
        scheduler=PNDMScheduler.from_pretrained(folder / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> StableDiffusionXLPipeline:
    folder = STABLE_DIFFUSION_XL_10
    first, second = (
        CLIPTextConfig.from_pretrained(folder / part) for part in ("text_encoder", "text_encoder_2")
    )
    return StableDiffusionXLPipeline(
        **_networks(folder),
        text_encoder=CLIPTextModel(first),
        text_encoder_2=CLIPTextModelWithProjection(second),
        tokenizer=clip_tokenizer(all_merges()),
        tokenizer_2=clip_tokenizer(all_merges(), "!"),
        scheduler=EulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        add_watermarker=False,
    )


def _networks(folder: Path) -> dict[str, Any]:
    classes: dict[str, Any] = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}
    return {
        name: network.from_config(network.load_config(folder / name))
        for name, network in classes.items()
    }
