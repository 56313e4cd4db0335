"""Stable Diffusion 1.x and 2.x: one text encoder, whose states condition the UNet.

Rombach et al. 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from tuner.models.clip_tokenizer import shipped_tokenizers
from tuner.models.families.autoencoder import decode as decode, encode as encode
from tuner.models.families.family import Component, LoraFamily, TextStates
from tuner.models.families.layer_names import plain_name
from tuner.models.stored.families import STABLE_DIFFUSION
from tuner.models.text_encoder import states, tokenized

LAYOUT = STABLE_DIFFUSION

STEP_BYTES = 700
"""From the 0.8 GiB of Stable Diffusion 1.5 at 512 x 512 (computed from its configuration, half
precision)."""

SAMPLE_BYTES = 800
"""About 1 GB for Stable Diffusion 1.5 at 512 x 512."""

_WIDTH, _WIDTH_2 = 768, 1024
"""Width of the text states of 1.x and of 2.x; small models have others."""


_NO_CHECKER: dict[str, Any] = {
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}
"""The judges examine every picture themselves."""


def open_folder(folder: Path, dtype: torch.dtype, variant: str | None) -> StableDiffusionPipeline:
    """Return the pipeline of a checked diffusers folder."""
    return StableDiffusionPipeline.from_pretrained(
        str(folder),
        dtype=dtype,
        variant=variant,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        **_NO_CHECKER,
    )


def open_file(path: Path, config: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    """Return the pipeline of a checked single file with its configuration."""
    return StableDiffusionPipeline.from_single_file(
        str(path),
        config=str(config),
        dtype=dtype,
        local_files_only=True,
        **shipped_tokenizers(LAYOUT, config),
        **_NO_CHECKER,
    )


def prepare(pipeline: Any) -> None:
    """Change nothing."""


def with_scheduler(pipeline: Any, scheduler: Any) -> StableDiffusionPipeline:
    """Return a pipeline of the same parts with another scheduler."""
    parts = {**pipeline.components, "scheduler": scheduler}
    return StableDiffusionPipeline(**parts, requires_safety_checker=False)


def encoders(pipeline: Any) -> dict[Component, Any]:
    """Return the text encoder."""
    return {"text_encoder": pipeline.text_encoder}


def tokens(pipeline: Any, captions: Sequence[str], chunks: int | None = None) -> torch.Tensor:
    """Return the tokens (captions, 77 * chunks)."""
    return tokenized(pipeline.tokenizer, captions, chunks)


def text_states(encoders: Sequence[Any], tokens: torch.Tensor, clip_skip: int) -> TextStates:
    """Return the states of the layer `clip_skip` from the last, through the final norm."""
    (encoder,) = encoders
    return TextStates(states(encoder, tokens, clip_skip))


def unprompted(pipeline: Any, states: TextStates) -> TextStates:
    """Return the states of the empty text: they are those of no prompt."""
    return states


def prompt_arguments(positive: TextStates, negative: TextStates) -> dict[str, Any]:
    """Return the states as arguments of the pipeline's call."""
    return {"prompt_embeds": positive.hidden, "negative_prompt_embeds": negative.hidden}


def predict(
    unet: Any,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    states: TextStates,
    frames: torch.Tensor,
) -> torch.Tensor:
    """Return the UNet's prediction, which does not depend on `frames`."""
    prediction: torch.Tensor = unet(noisy, timesteps, states.hidden, return_dict=False)[0]
    return prediction


def bucket_step(pipeline: Any) -> int:
    """Return the step for latents that halve evenly at each level of the UNet.

    64 for Stable Diffusion 1.5, as in kohya's trainer, 16 for the mannequin.
    """
    halvings = len(pipeline.unet.config.block_out_channels) - 1
    return int(pipeline.vae_scale_factor) << halvings


def kohya_name(component: Component, dotted: str, model: Any) -> str:
    """Return the name of a layer: `lora_unet_` or `lora_te_` and diffusers' name."""
    return plain_name(component, dotted)


def lora_families(pipeline: Any) -> tuple[LoraFamily, ...]:
    """Return the version, by the width of the text states."""
    known: dict[Any, LoraFamily] = {_WIDTH: "sd1", _WIDTH_2: "sd2"}
    width = pipeline.unet.config.cross_attention_dim
    return (known[width],) if width in known else ("sd1", "sd2")


def metadata(pipeline: Any) -> Mapping[str, str]:
    """Return the header's entries: version 2.x is known by the width of its text states."""
    second = pipeline.unet.config.cross_attention_dim == _WIDTH_2
    return {
        "ss_v2": str(second),
        "ss_base_model_version": "sd_v2" if second else "sd_v1",
        "modelspec.architecture": f"stable-diffusion-{'v2-512' if second else 'v1'}",
    }
