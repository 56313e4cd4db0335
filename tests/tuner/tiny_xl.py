"""A tiny Stable Diffusion XL with random weights, of the same classes as the big one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tuner.models.clip_tokenizer import all_merges, clip_tokenizer

WIDTHS = (16, 24)
"""Widths of the two text encoders, which tell them apart in a single file."""


def save_tiny_xl(folder: Path, merges: int, prediction_type: str = "epsilon") -> Path:
    """Write a random SDXL: 64 pixels, latents (4, 8, 8), three blocks, two with attention.

    Its tokenizers have `merges` of CLIP's merges; the second pads with `!`, as in SDXL.
    """
    some = all_merges()[:merges]
    first, second = clip_tokenizer(some), clip_tokenizer(some, "!")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = StableDiffusionXLPipeline(
            unet=_unet(),
            vae=AutoencoderKL(
                block_out_channels=(8,) * 4,
                norm_num_groups=4,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                sample_size=64,
                scaling_factor=0.13025,
                force_upcast=True,
            ),
            text_encoder=CLIPTextModel(_text(WIDTHS[0], 3, len(first), "quick_gelu")),
            text_encoder_2=CLIPTextModelWithProjection(_text(WIDTHS[1], 3, len(second), "gelu")),
            tokenizer=first,
            tokenizer_2=second,
            scheduler=EulerDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                steps_offset=1,
                timestep_spacing="leading",
                prediction_type=prediction_type,
            ),
            force_zeros_for_empty_prompt=True,
            add_watermarker=False,
        )
    # Random weights draw pictures that are nearly one colour, which no judge takes for a picture.
    pipeline.vae.decoder.conv_out.weight.data *= 2
    pipeline.save_pretrained(folder)
    return folder


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16, 16),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(1, 2, 2),
        transformer_layers_per_block=(1, 1, 2),
        use_linear_projection=True,
        cross_attention_dim=sum(WIDTHS),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=WIDTHS[1] + 6 * 8,
    )


def _text(width: int, layers: int, tokens: int, activation: str) -> Any:
    return CLIPTextConfig(
        vocab_size=tokens,
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=4,
        num_hidden_layers=layers,
        projection_dim=width,
        hidden_act=activation,
        bos_token_id=tokens - 2,
        eos_token_id=tokens - 1,
        pad_token_id=tokens - 1,
    )
