"""Check a diffusers folder before it is opened: its parts, their files, and what these hold.

Configurations and the headers of weights are read, no network is built, and torch is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import ConfigError, MissingModelError
from tuner.models.stored import architecture
from tuner.models.stored.architecture import Shape, Shapes
from tuner.models.stored.prediction import require_noise_levels
from tuner.models.stored.variants import NETWORKS, choose_weights, opened
from tuner.models.stored.weight_files import broken, lacks, read_headers, require_numbers, short
from tuner.space import StudyConfig
from tuner.text import counted

_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_OLD_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v."}
_OLD_NAMES |= {".proj_attn.": ".to_out.0."}
"""Names of attention layers in older VAEs, which diffusers translates."""

LATENT_CHANNELS = 4


@dataclass(frozen=True)
class Folder:
    """A checked diffusers folder.

    `variant` is the middle of its weights' file names, such as `fp16`, None for plain names;
    `layers` is the number of layers of its text encoder; `scheduler` the scheduler's configuration.
    """

    variant: str | None
    layers: int
    scheduler: Mapping[str, Any]


def read_index(base: str, folder: Path) -> dict[str, Any]:
    """Return the model_index.json of a Stable Diffusion.

    Raises ConfigError if there is none, if it is broken, and if it is that of another pipeline.
    """
    why = f"base {base}: not a diffusers folder, it has no readable model_index.json"
    path = folder / "model_index.json"
    if not path.is_file():
        near = sorted(file.parent.name for file in folder.glob("*/model_index.json"))[:1]
        hint = f"; did you mean its folder {near[0]}?" if near else ""
        raise ConfigError(f"{why}: there is no such file{hint}")
    try:
        index = json.loads(path.read_text("utf-8-sig"))
    except PermissionError:
        raise  # fetching the file again would not help
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{why}: the file is broken ({short(error)}); fetch it again") from None
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise ConfigError(f"{why}: the file names no pipeline (_class_name); fetch it again")
    kind = index["_class_name"]
    if kind != "StableDiffusionPipeline":
        raise ConfigError(
            f"base {base} is a {kind}, allowed: StableDiffusionPipeline (Stable Diffusion 1.x, 2.x)"
        )
    return index


def check_folder(base: str, folder: Path) -> Folder:
    """Return a diffusers folder's properties if it is a whole Stable Diffusion that can be opened.

    Raises MissingModelError for parts, files or tensors that are missing or broken, ConfigError
    for contents that tuner does not open or train.
    """
    index = read_index(base, folder)
    lacking = [
        part for part in _PARTS if not _is_named(index, part) or not (folder / part).is_dir()
    ]
    if lacking:
        raise lacks(base, ", ".join(lacking))
    if not any(all((folder / "tokenizer" / name).is_file() for name in row) for row in _TOKENIZERS):
        raise lacks(base, "tokenizer/tokenizer.json")
    for path in sorted((folder / "tokenizer").glob("*.json")):
        _read_object(base, path)
    configs = {part: read_config(base, folder, part) for part in NETWORKS}
    _require_kind(base, configs)
    names = [f"{path.parent.name}/{path.name}" for path in folder.glob("*/*") if path.is_file()]
    variant, files = choose_weights(base, names)
    for part, config in configs.items():
        header = read_headers(base, opened(base, folder, files[part]))
        require_shapes(base, part, header.shapes, expected(base, part, config))
        require_numbers(base, part, header)
    scheduler = read_config(base, folder, "scheduler")
    require_noise_levels(base, scheduler)
    return Folder(variant, int(configs["text_encoder"]["num_hidden_layers"]), scheduler)


def read_config(base: str, folder: Path, part: str) -> dict[str, Any]:
    """Return the configuration of a part of a diffusers folder.

    Raises MissingModelError if it is missing or broken.
    """
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    path = folder / part / name
    if not path.is_file():
        raise lacks(base, f"{part}/{name}")
    return _read_object(base, path)


def _read_object(base: str, path: Path) -> dict[str, Any]:
    name = f"{path.parent.name}/{path.name}"
    try:
        values = json.loads(path.read_text("utf-8-sig"))
    except PermissionError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise broken(base, name, short(error)) from None
    if not isinstance(values, dict):
        raise broken(base, name, "no keys and values")
    return values


def expected(
    base: str, part: str, config: Mapping[str, Any], kind: str | None = None
) -> Shapes | None:
    """Return the shapes of the tensors of `part`; None for an unusual kind of it.

    `kind` is `open_clip` for a text encoder in the layout of that library.
    """
    shapes: Mapping[str, Callable[[Mapping[str, Any]], Shapes | None]] = {
        "unet": architecture.unet_shapes,
        "vae": architecture.vae_shapes,
        "text_encoder": architecture.text_shapes,
        "open_clip": architecture.open_clip_shapes,
    }
    try:
        return shapes[kind or part](config)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise broken(base, f"{part}/config.json", f"no usable {short(error)}") from None


def require_shapes(
    base: str, part: str, there: Mapping[str, Shape], wanted: Mapping[str, Shape] | None
) -> None:
    """Raise an error if the tensors `there` are not those of `part` in number and shape.

    Further tensors do not matter. MissingModelError for missing ones, ConfigError for another
    shape.
    """
    if wanted is None:
        return
    plain = {_plain(name): shape for name, shape in there.items()}
    missing = [name for name in wanted if name not in plain]
    if missing:
        raise MissingModelError(
            f"base {base}: the weights of its {part} lack {len(missing)} of "
            f"{counted(len(wanted), 'tensor')} ({missing[0]}): the file is not whole, or of "
            "another model than its configuration; fetch it again"
        )
    for name, shape in wanted.items():
        if _squeezed(plain[name]) != _squeezed(shape):
            raise ConfigError(
                f"base {base}: {name} of its {part} has the shape {plain[name]}, its configuration "
                f"says {shape}; the weights are of another model, fetch both again"
            )


def require_layers(base: str, layers: int, config: StudyConfig) -> None:
    """Raise ConfigError if a `clip_skip` of the study is above the text encoder's `layers`."""
    above = [skip for skip in config.tried("clip_skip") if isinstance(skip, int) and skip > layers]
    if above:
        raise ConfigError(
            f"train.clip_skip: found {max(above)}, allowed: 1 to {layers}, as the text encoder of "
            f"base {base} has {counted(layers, 'layer')}"
        )


def inpaints(channels: object) -> str:
    """Return why a UNet that takes other inputs than the latents is refused."""
    return (
        f"draws from {channels} channel{'s' * (channels != 1)}, as models for inpainting do; "
        f"allowed: {LATENT_CHANNELS}; give the model that it was made from"
    )


def _require_kind(base: str, configs: Mapping[str, Mapping[str, Any]]) -> None:
    unet, text = configs["unet"], configs["text_encoder"]
    channels = unet.get("in_channels", LATENT_CHANNELS)
    latents = configs["vae"].get("latent_channels", LATENT_CHANNELS)
    if latents != LATENT_CHANNELS:
        raise ConfigError(
            f"base {base}: its VAE has latents of {counted(latents, 'channel')}, allowed: "
            f"{LATENT_CHANNELS}, "
            "as in Stable Diffusion 1.x and 2.x; the two are of different models"
        )
    if channels != latents:
        raise ConfigError(f"base {base} {inpaints(channels)}")
    for part, config in configs.items():
        if config.get("quantization_config"):
            raise ConfigError(
                f"base {base}: its {part} is quantised (config.json has a quantization_config); "
                "fetch the base with float32 or float16 weights"
            )
    wide, narrow = unet.get("cross_attention_dim"), text.get("hidden_size")
    if isinstance(wide, int) and wide != narrow:
        raise ConfigError(
            f"base {base}: its text encoder gives {narrow} numbers for each token, its UNet takes "
            f"{wide}; the two are of different models"
        )


def _is_named(index: Mapping[str, Any], part: str) -> bool:
    named = index.get(part)
    return isinstance(named, list) and len(named) == 2 and all(named)


def _plain(name: str) -> str:
    name = name.removeprefix("text_model.")
    if ".attentions." in name:
        for old, new in _OLD_NAMES.items():
            name = name.replace(old, new)
    return name


def _squeezed(shape: Shape) -> Shape:
    """Return a shape without ones at its end: a 1 x 1 convolution is a matrix."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
