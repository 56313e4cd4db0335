"""Stable Diffusion XL: two text encoders, a vector for the whole caption, sizes of pictures.

Podell et al. 2023; also what was trained from it: Illustrious, NoobAI, Pony. The states of both
encoders lie side by side; the second also gives the vector. The UNet is told the size of each
picture before it was scaled, and where it was cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers.utils.logging as diffusers_logging
import torch
from diffusers import StableDiffusionXLPipeline

from tuner.models.clip_tokenizer import shipped_tokenizers
from tuner.models.families.autoencoder import decode as decode, encode as encode
from tuner.models.families.family import Component, LoraFamily, TextStates
from tuner.models.families.layer_names import original_or_plain
from tuner.models.stored.families import STABLE_DIFFUSION_XL
from tuner.models.text_encoder import states_and_pooled, tokenized

LAYOUT = STABLE_DIFFUSION_XL

_UNITS = 128 * 128 * 320
"""Latent places at 1024 x 1024, times the channels of the UNet's first level."""

STEP_BYTES = LAYOUT.cost.picture // _UNITS
SAMPLE_BYTES = LAYOUT.cost.drawn // _UNITS

_OWN_LAYER = 2
"""The layer that the UNet was trained with: the last but one, without the final norm."""

_BUCKETS = 16
"""Steps along the native side: 64 of 1024 px, as in kohya's trainer."""


def open_folder(folder: Path, dtype: torch.dtype, variant: str | None) -> StableDiffusionXLPipeline:
    """Return the pipeline of a checked diffusers folder."""
    return StableDiffusionXLPipeline.from_pretrained(
        str(folder),
        dtype=dtype,
        variant=variant,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        add_watermarker=False,
    )


def open_file(path: Path, config: Path, dtype: torch.dtype) -> StableDiffusionXLPipeline:
    """Return the pipeline of a checked single file with its configuration."""
    before = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()  # it warns of its own way to set the dtype
    try:
        return StableDiffusionXLPipeline.from_single_file(
            str(path),
            config=str(config),
            dtype=dtype,
            local_files_only=True,
            add_watermarker=False,
            **shipped_tokenizers(LAYOUT, config),
        )
    finally:
        diffusers_logging.set_verbosity(before)


def prepare(pipeline: Any) -> None:
    """Put the VAE into float32: in float16 its activations overflow, and pictures are black."""
    pipeline.vae.float()


def with_scheduler(pipeline: Any, scheduler: Any) -> StableDiffusionXLPipeline:
    """Return a pipeline of the same parts with another scheduler, without a watermark."""
    parts = {**pipeline.components, "scheduler": scheduler}
    zeros = bool(pipeline.config.force_zeros_for_empty_prompt)
    return StableDiffusionXLPipeline(
        **parts, force_zeros_for_empty_prompt=zeros, add_watermarker=False
    )


def encoders(pipeline: Any) -> dict[Component, Any]:
    """Return both text encoders."""
    return {"text_encoder": pipeline.text_encoder, "text_encoder_2": pipeline.text_encoder_2}


def tokens(pipeline: Any, captions: Sequence[str], chunks: int | None = None) -> torch.Tensor:
    """Return the tokens (captions, 2, 77 * chunks) of both tokenizers, which pad differently."""
    both = (pipeline.tokenizer, pipeline.tokenizer_2)
    return torch.stack([tokenized(each, captions, chunks) for each in both], dim=1)


def text_states(encoders: Sequence[Any], tokens: torch.Tensor, clip_skip: int) -> TextStates:
    """Return the states of both encoders side by side, and the pooled text of the second.

    They are read from the last layer but one, without the final norm; from an earlier one with a
    `clip_skip` above 2. The pooled text is that of the first chunk, as in kohya's trainer.
    """
    skip = max(clip_skip, _OWN_LAYER)
    hidden, pooled = [], None
    for place, encoder in enumerate(encoders):
        own, pooled = states_and_pooled(encoder, tokens[:, place], skip)
        hidden.append(own)
    return TextStates(torch.cat(hidden, dim=-1), pooled)


def unprompted(pipeline: Any, states: TextStates) -> TextStates:
    """Return zeros if the base was trained so, which its configuration says, or `states`."""
    return states.zeros() if pipeline.config.force_zeros_for_empty_prompt else states


def prompt_arguments(positive: TextStates, negative: TextStates) -> dict[str, Any]:
    """Return the states as arguments of the pipeline's call."""
    return {
        "prompt_embeds": positive.hidden,
        "pooled_prompt_embeds": positive.pooled,
        "negative_prompt_embeds": negative.hidden,
        "negative_pooled_prompt_embeds": negative.pooled,
    }


def predict(
    unet: Any,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    states: TextStates,
    frames: torch.Tensor,
) -> torch.Tensor:
    """Return the UNet's prediction, given the size and cut of each picture (section 2.2)."""
    # Sizes stay float32: bfloat16 rounds a side of 3,000 pixels to a multiple of 16.
    conditions = {"text_embeds": states.pooled, "time_ids": frames}
    prediction: torch.Tensor = unet(
        noisy, timesteps, states.hidden, added_cond_kwargs=conditions, return_dict=False
    )[0]
    return prediction


def bucket_step(pipeline: Any) -> int:
    """Return a sixteenth of the native side, or what halves evenly if that is more."""
    factor = int(pipeline.vae_scale_factor)
    halvings = len(pipeline.unet.config.block_out_channels) - 1
    return max(int(pipeline.unet.config.sample_size) * factor // _BUCKETS, factor << halvings)


def kohya_name(component: Component, dotted: str, model: Any) -> str:
    """Return the name of a layer: `lora_te1_`, `lora_te2_`; `lora_unet_` and its original name."""
    return original_or_plain(component, dotted, model)


def lora_families(pipeline: Any) -> tuple[LoraFamily, ...]:
    """Return XL: what was trained from it takes the same LoRAs."""
    return ("sdxl",)


def metadata(pipeline: Any) -> Mapping[str, str]:
    """Return the entries of a trained file's header that name the family."""
    return {
        "ss_v2": "False",
        "ss_base_model_version": "sdxl_base_v1-0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base",
    }
