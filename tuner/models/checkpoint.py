"""Identify a single `.safetensors` checkpoint by its header, and open it with diffusers.

diffusers takes the configuration of such a file from the hub. That of Stable Diffusion 1.x is
shipped here, so that such a checkpoint needs no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from tuner.errors import ConfigError, MissingModelError

STABLE_DIFFUSION_15 = Path(__file__).with_name("stable_diffusion_15")
"""A diffusers folder without weights and tokenizer: the configuration of Stable Diffusion 1.5."""

_CONTEXT = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
_FIRST = "model.diffusion_model.input_blocks.0.0.weight"
_XL = "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"
_FIRST_WIDTH, _TEXT_WIDTH, _LATENT_CHANNELS = 320, 768, 4
_TEXT_WIDTH_2 = 1024

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class SingleFile:
    """A checkpoint in the original layout; `config` is its diffusers folder of configurations.

    `config` is None if diffusers has to get the configuration from the hub.
    """

    path: Path
    config: Path | None


def read_checkpoint(path: Path) -> SingleFile:
    """Return the checkpoint at `path` if it is a Stable Diffusion 1.x or 2.x.

    A folder beside the file with its name without `.safetensors`, and with a `model_index.json`, is
    used as its configuration. Raises MissingModelError for a file that is no safetensors file,
    ConfigError for one with other contents; the message says what they seem to be.
    """
    try:
        with safe_open(path, "np") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise MissingModelError(
            f"base {path} could not be opened as a single file: {error}; fetch it again"
        ) from error
    if reason := _refusal(shapes):
        raise ConfigError(f"base {path} {reason}")
    own = path.with_suffix("")
    if (own / "model_index.json").is_file():
        return SingleFile(path, own)
    first, context = shapes[_FIRST], shapes.get(_CONTEXT, (0,))
    plain = first[0] == _FIRST_WIDTH and context[-1] == _TEXT_WIDTH
    if not plain and context[-1] != _TEXT_WIDTH_2:
        raise ConfigError(
            f"base {path} is of another size than Stable Diffusion 1.x or 2.x: put its diffusers "
            f"configuration into {own}, or give a diffusers folder"
        )
    return SingleFile(path, STABLE_DIFFUSION_15 if plain else None)


def opening(file: SingleFile) -> dict[str, Any]:
    """Return the arguments of `StableDiffusionPipeline.from_single_file` for a checkpoint."""
    if file.config is None:
        return {}
    if file.config != STABLE_DIFFUSION_15:
        return {"config": str(file.config)}
    from tuner.models.clip_tokenizer import all_merges, clip_tokenizer

    return {"config": str(file.config), "tokenizer": clip_tokenizer(all_merges())}


def _refusal(shapes: Shapes) -> str | None:
    """Return why a file is no base, None for a base."""
    whole = "tuner trains Stable Diffusion 1.x and 2.x, and needs the whole checkpoint"
    if _XL in shapes:
        return f"is a Stable Diffusion XL; {whole}"
    if _FIRST in shapes:
        channels = shapes[_FIRST][1]
        if channels != _LATENT_CHANNELS:
            return f"draws from {channels} channels, as models for inpainting do; {whole}"
        missing = [part for part, start in _PARTS.items() if not _has(shapes, start)]
        return f"has no {' and no '.join(missing)}; {whole}" if missing else None
    for what, starts in _OTHERS.items():
        if any(_has(shapes, start) for start in starts):
            return f"is {what}; {whole}"
    return f"holds no known Stable Diffusion ({len(shapes)} tensors); {whole}"


_PARTS = {"VAE": "first_stage_model.", "text encoder": "cond_stage_model."}
_OTHERS = {
    "a LoRA": ("lora_", "unet.", "text_encoder."),
    "a part of a diffusers folder": ("down_blocks.", "encoder.", "text_model."),
    "a VAE": ("decoder.", "first_stage_model."),
}
"""Contents of other files, by the first part of their tensors' names."""


def _has(shapes: Shapes, start: str) -> bool:
    return any(name.startswith(start) for name in shapes)
