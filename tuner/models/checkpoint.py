"""Identify a single `.safetensors` checkpoint by its header, and open it with diffusers.

diffusers takes the configuration of such a file from the hub. That of Stable Diffusion 1.x is
shipped here, so that such a checkpoint needs no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from tuner.errors import ConfigError, MissingModelError
from tuner.models.foreign.names import is_lora
from tuner.models.stored import original_names as original
from tuner.models.stored.architecture import Shapes
from tuner.models.stored.layout import (
    LATENT_CHANNELS,
    expected,
    inpaints,
    read_config,
    read_index,
    require_shapes,
)
from tuner.models.stored.prediction import (
    Prediction,
    chosen_prediction,
    file_prediction,
    require_noise_levels,
)
from tuner.models.stored.weight_files import Header, read_header, require_numbers
from tuner.text import counted

STABLE_DIFFUSION_15 = Path(__file__).with_name("stable_diffusion_15")
"""A diffusers folder without weights and tokenizer: the configuration of Stable Diffusion 1.5."""

_CONTEXT = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
_FIRST = "model.diffusion_model.input_blocks.0.0.weight"
_XL = "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"
_FIRST_WIDTH, _TEXT_WIDTH = 320, 768
_TEXT_WIDTH_2 = 1024
_LAYERS_2 = 23
"""Layers of the text encoder of Stable Diffusion 2.x: the last of its 24 is not used."""

_UNET_2 = {"cross_attention_dim": _TEXT_WIDTH_2, "use_linear_projection": True}
"""The part of the configuration of 2.x that changes shapes; the rest is that of 1.5."""

_TEXT_2 = {
    "hidden_size": _TEXT_WIDTH_2,
    "intermediate_size": 4 * _TEXT_WIDTH_2,
    "num_hidden_layers": _LAYERS_2,
    "vocab_size": 49408,
}


@dataclass(frozen=True)
class SingleFile:
    """A checkpoint in the original layout; `config` is its diffusers folder of configurations.

    `config` is None if diffusers has to get the configuration from the hub.
    """

    path: Path
    config: Path | None
    header: Header = field(repr=False)

    @property
    def layers(self) -> int:
        """The number of layers of its text encoder."""
        if self.config is None:
            return _LAYERS_2
        return int(read_config(str(self.path), self.config, "text_encoder")["num_hidden_layers"])

    def prediction(self, chosen: str | None) -> Prediction:
        """Return what its UNet predicts; `chosen` is the search space's `base_prediction`."""
        own = None
        if self.config is not None and self.config != STABLE_DIFFUSION_15:
            own = read_config(str(self.path), self.config, "scheduler")
        return chosen_prediction(chosen) or file_prediction(
            str(self.path), self.path, self.header, own, self.config is None
        )


def read_checkpoint(path: Path) -> SingleFile:
    """Return the checkpoint at `path` if it is a Stable Diffusion 1.x or 2.x.

    A folder beside the file with its name without `.safetensors`, and with a `model_index.json`, is
    used as its configuration. Raises MissingModelError for a file that is no safetensors file,
    ConfigError for one with other contents; the message says what they seem to be.
    """
    try:
        header = read_header(path)
    except PermissionError:
        raise  # fetching the file again would not help
    except (SafetensorError, OSError, ValueError) as error:
        raise MissingModelError(
            f"base {path} could not be opened as a single file: {error}; fetch it again"
        ) from error
    shapes = header.shapes
    if reason := _refusal(shapes):
        raise ConfigError(f"base {path} {reason}")
    own = path.with_suffix("")
    if (own / "model_index.json").is_file():
        return SingleFile(path, own, header)
    first, context = shapes[_FIRST], shapes.get(_CONTEXT) or (0,)
    plain = first[0] == _FIRST_WIDTH and context[-1] == _TEXT_WIDTH
    if not plain and context[-1] != _TEXT_WIDTH_2:
        raise ConfigError(
            f"base {path} is of another size than Stable Diffusion 1.x or 2.x: put its diffusers "
            f"configuration into {own}, or give a diffusers folder"
        )
    return SingleFile(path, STABLE_DIFFUSION_15 if plain else None, header)


def check_checkpoint(base: str, file: SingleFile) -> None:
    """Check that a checkpoint has all tensors of its model, with their shapes and finite numbers.

    Raises ConfigError or MissingModelError for the first that is wrong.
    """
    require_numbers(base, "the file", file.header)
    if file.config not in (None, STABLE_DIFFUSION_15):
        read_index(base, file.config)
        require_noise_levels(base, read_config(base, file.config, "scheduler"))
        if not (file.config / "tokenizer").is_dir():
            raise MissingModelError(f"base {base}: its configuration {file.config} lacks tokenizer")
    there = {_full_name(name): shape for name, shape in file.header.shapes.items()}
    for part, wanted in _wanted(base, file).items():
        require_shapes(base, part, there, wanted)


def _wanted(base: str, file: SingleFile) -> dict[str, Shapes]:
    """Return the shapes of each part of known kind, by the original names."""
    wanted: dict[str, Shapes] = {}
    config = file.config or STABLE_DIFFUSION_15
    unet = read_config(base, config, "unet") | ({} if file.config else _UNET_2)
    if shapes := expected(base, "unet", unet):
        attentive = ["CrossAttn" in kind for kind in unet["up_block_types"]]
        layers = int(unet.get("layers_per_block", 2))
        wanted["unet"] = {
            original.UNET + original.unet_name(name, layers, attentive): shape
            for name, shape in shapes.items()
        }
    vae = read_config(base, config, "vae")
    if shapes := expected(base, "vae", vae):
        blocks = len(vae["up_block_types"])
        wanted["vae"] = {
            original.VAE + original.vae_name(name, blocks): shape for name, shape in shapes.items()
        }
    encoder = read_config(base, config, "text_encoder") if file.config else _TEXT_2
    if _has(file.header.shapes, original.TEXT_2):
        text = expected(base, "text_encoder", encoder, "open_clip") or {}
        named = {original.TEXT_2 + name: shape for name, shape in text.items()}
    else:
        text = expected(base, "text_encoder", encoder) or {}
        named = {original.TEXT + original.text_name(name): shape for name, shape in text.items()}
    return wanted | {"text encoder": named}


def _full_name(name: str) -> str:
    """Return the usual name of a text encoder's tensor; some programs leave out a level of it."""
    rest = name.removeprefix(original.TEXT)
    return original.TEXT + original.text_name(rest) if rest != name else name


def opening(file: SingleFile) -> dict[str, Any]:
    """Return the arguments of `StableDiffusionPipeline.from_single_file` for a checkpoint."""
    if file.config is None:
        return {}
    if file.config != STABLE_DIFFUSION_15:
        return {"config": str(file.config)}
    from tuner.models.clip_tokenizer import all_merges, clip_tokenizer

    return {"config": str(file.config), "tokenizer": clip_tokenizer(all_merges())}


def _refusal(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return why a file is no base, None for a base."""
    whole = "tuner trains Stable Diffusion 1.x and 2.x, and needs the whole checkpoint"
    if is_lora(shapes):
        return "is a LoRA, no base: `tuner judge` takes it without --as-base, and --base its base"
    if _XL in shapes:
        return f"is a Stable Diffusion XL; {whole}"
    if _FIRST in shapes:
        if len(shapes[_FIRST]) != 4:
            return (
                f"has a first layer of shape {shapes[_FIRST]}, as quantised weights do; give it "
                "with float32, float16, bfloat16 or float8 weights"
            )
        channels = shapes[_FIRST][1]
        if channels != LATENT_CHANNELS:
            return inpaints(channels)
        missing = [part for part, start in _PARTS.items() if not _has(shapes, start)]
        return f"has no {' and no '.join(missing)}; {whole}" if missing else None
    for what, starts in _OTHERS.items():
        if any(_has(shapes, start) for start in starts):
            return f"is {what}; {whole}"
    return f"holds no known Stable Diffusion ({counted(len(shapes), 'tensor')}); {whole}"


_PARTS = {"VAE": "first_stage_model.", "text encoder": "cond_stage_model."}
_OTHERS = {
    "a part of a LoRA": ("lora_",),
    "the trained weights of a run, of which `tuner export` writes a model": (
        "unet.",
        "text_encoder.",
    ),
    "a part of a diffusers folder": ("down_blocks.", "encoder.", "text_model."),
    "a VAE": ("decoder.", "first_stage_model."),
}
"""Contents of other files, by the first part of their tensors' names."""


def _has(shapes: Mapping[str, tuple[int, ...]], start: str) -> bool:
    return any(name.startswith(start) for name in shapes)
