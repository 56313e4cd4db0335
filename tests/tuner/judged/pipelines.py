"""Tiny pipelines that tuner does not train, with random weights, from their own classes.

SDXL-Turbo is one: it is a Stable Diffusion XL, but distilled, which its scheduler shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from tests.tuner.conftest import MERGES
from tuner.models.clip_tokenizer import all_merges, clip_tokenizer

FAMILIES = ("turbo", "sd3", "flux")


def save_pipeline(family: str, folder: Path) -> Path:
    """Write a pipeline of `family` that draws 32 x 32 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = {"turbo": _turbo, "sd3": _sd3, "flux": _flux}[family]()
    # Random weights draw pictures that are nearly one colour, which no judge takes for a picture.
    pipeline.vae.decoder.conv_out.weight.data *= 2
    pipeline.save_pretrained(folder)
    return folder


def save_lora(base: Path, path: Path, strength: float) -> Path:
    """Write a LoRA for the pipeline in `base`, as diffusers' own training scripts write it."""
    pipeline = DiffusionPipeline.from_pretrained(str(base), use_safetensors=True)
    part = getattr(pipeline, "transformer", None) or pipeline.unet
    part.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v"]))
    torch.manual_seed(0)
    weights = {
        name: torch.randn_like(tensor) * strength
        for name, tensor in get_peft_model_state_dict(part).items()
    }
    name = "transformer" if hasattr(pipeline, "transformer") else "unet"
    pipeline.save_lora_weights(
        path.parent, **{f"{name}_lora_layers": weights}, weight_name=path.name
    )
    return path


def _text(size: int, projected: bool) -> Any:
    tokens = len(clip_tokenizer(all_merges()[:MERGES]))
    config = CLIPTextConfig(
        vocab_size=tokens,
        hidden_size=size,
        intermediate_size=2 * size,
        num_attention_heads=4,
        num_hidden_layers=3,
        projection_dim=size,
        bos_token_id=tokens - 2,
        eos_token_id=tokens - 1,
        pad_token_id=tokens - 1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _vae(channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 16),
        norm_num_groups=8,
        latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=32,
        use_quant_conv=channels == 4,
        use_post_quant_conv=channels == 4,
        shift_factor=None if channels == 4 else 0.06,
        scaling_factor=1.5 if channels > 4 else 0.18,
    )


def _t5() -> tuple[T5EncoderModel, T5Tokenizer]:
    words = ["<pad>", "</s>", "<unk>", *(f"\N{LOWER ONE EIGHTH BLOCK}{each}" for each in "abgy1")]
    words += list("abcdefghijklmnopqrstuvwxyz1, ")
    vocabulary = [(word, -float(place)) for place, word in enumerate(dict.fromkeys(words))]
    config = T5Config(
        vocab_size=256, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4,
    )  # fmt: skip
    return T5EncoderModel(config), T5Tokenizer(vocab=vocabulary)


def _turbo() -> StableDiffusionXLPipeline:
    tokenizer = clip_tokenizer(all_merges()[:MERGES])
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32),
        norm_num_groups=8,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=80,
        cross_attention_dim=64,
    )
    return StableDiffusionXLPipeline(
        vae=_vae(4),
        text_encoder=_text(32, projected=False),
        text_encoder_2=_text(32, projected=True),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerAncestralDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, timestep_spacing="trailing"
        ),
    )


def _sd3() -> StableDiffusion3Pipeline:
    tokenizer = clip_tokenizer(all_merges()[:MERGES])
    t5, t5_tokenizer = _t5()
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=1,
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=64,
        out_channels=16,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(16),
        text_encoder=_text(32, projected=True),
        tokenizer=tokenizer,
        text_encoder_2=_text(32, projected=True),
        tokenizer_2=tokenizer,
        text_encoder_3=t5,
        tokenizer_3=t5_tokenizer,
    )


def _flux() -> FluxPipeline:
    t5, t5_tokenizer = _t5()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(16),
        text_encoder=_text(32, projected=False),
        tokenizer=clip_tokenizer(all_merges()[:MERGES]),
        text_encoder_2=t5,
        tokenizer_2=t5_tokenizer,
        transformer=transformer,
    )
