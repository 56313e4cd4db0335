"""Check a diffusers folder before it is opened: its parts, their files, and what these hold.

Configurations and the headers of weights are read, no network is built, and torch is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import ConfigError, MissingModelError
from tuner.models.stored import architecture
from tuner.models.stored.architecture import Shape, Shapes
from tuner.models.stored.distilled import require_undistilled
from tuner.models.stored.families import Layout
from tuner.models.stored.index import read_config, read_index, read_object
from tuner.models.stored.prediction import require_noise_levels
from tuner.models.stored.variants import choose_weights, opened
from tuner.models.stored.weight_files import broken, lacks, read_headers, require_numbers, short
from tuner.space import StudyConfig
from tuner.text import counted

_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_OLD_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v."}
_OLD_NAMES |= {".proj_attn.": ".to_out.0."}
"""Names of attention layers in older VAEs, which diffusers translates."""

LATENT_CHANNELS = 4
_LATENTS = "with other latents"
_INPUTS = {9: "for inpainting", 8: "that edit pictures", 5: "with a map of depth"}
"""Models whose UNet takes a picture beside the latents, by the number of channels."""

_SIZES = 6
"""Numbers of sizes that SDXL's UNet takes: original size, place of the crop, target size."""


@dataclass(frozen=True)
class Folder:
    """A checked diffusers folder.

    `variant` is the middle of its weights' file names, such as `fp16`, None for plain names;
    `layers` is the number of layers of its text encoder, of two that of the shorter one;
    `scheduler` the scheduler's configuration.
    """

    layout: Layout
    variant: str | None
    layers: int
    scheduler: Mapping[str, Any]


def check_folder(base: str, folder: Path) -> Folder:
    """Return a diffusers folder's properties if it is a whole base that can be opened.

    Raises MissingModelError for parts, files or tensors that are missing or broken, ConfigError
    for contents that tuner does not open or train.
    """
    index = read_index(base, folder)
    layout = index.layout
    lacking = [
        part for part in layout.parts if not index.names(part) or not (folder / part).is_dir()
    ]
    if lacking:
        raise lacks(base, ", ".join(lacking))
    for encoder in layout.encoders:
        _require_tokenizer(base, folder / encoder.tokenizer)
    configs = {part: read_config(base, folder, part) for part in layout.stems}
    scheduler = read_config(base, folder, "scheduler")
    require_kind(base, layout, configs, scheduler)
    names = [f"{path.parent.name}/{path.name}" for path in folder.glob("*/*") if path.is_file()]
    variant, files = choose_weights(base, layout, names)
    for part, config in configs.items():
        header = read_headers(base, opened(base, folder, files[part]))
        require_shapes(base, part, header.shapes, expected(base, layout, part, config))
        require_numbers(base, part, header)
    return Folder(layout, variant, fewest_layers(layout, configs), scheduler)


def _require_tokenizer(base: str, folder: Path) -> None:
    if not any(all((folder / name).is_file() for name in row) for row in _TOKENIZERS):
        raise lacks(base, f"{folder.name}/tokenizer.json")
    for path in sorted(folder.glob("*.json")):
        read_object(base, path)


def fewest_layers(layout: Layout, configs: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the number of layers of the text encoder; of two it is that of the shorter one."""
    parts = (encoder.part for encoder in layout.encoders)
    return min(int(configs[part]["num_hidden_layers"]) for part in parts)


def expected(
    base: str, layout: Layout, part: str, config: Mapping[str, Any], open_clip: bool = False
) -> Shapes | None:
    """Return the shapes of the tensors of `part`; None for an unusual kind of it.

    With `open_clip` a text encoder's are in the layout of that library.
    """
    try:
        if part == "unet":
            return architecture.unet_shapes(config)
        if part == "vae":
            return architecture.vae_shapes(config)
        projects = any(each.projects for each in layout.encoders if each.part == part)
        if open_clip:
            return architecture.open_clip_shapes(config, projects)
        return architecture.text_shapes(config, projects)
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


def other_inputs(channels: object) -> str:
    """Return why a UNet that takes other inputs than latents of four channels is refused."""
    known = _INPUTS.get(channels) if isinstance(channels, int) else None
    instead = "the model that it was made from" if known else "a base with such latents"
    return (
        f"draws from {channels} channel{'s' * (channels != 1)}, as models {known or _LATENTS} do; "
        f"allowed: {LATENT_CHANNELS}; give {instead}"
    )


def require_kind(
    base: str,
    layout: Layout,
    configs: Mapping[str, Mapping[str, Any]],
    scheduler: Mapping[str, Any],
) -> None:
    """Raise ConfigError for parts, by their configurations, that are of no base to be trained."""
    unet = configs["unet"]
    channels = unet.get("in_channels", LATENT_CHANNELS)
    latents = configs["vae"].get("latent_channels", LATENT_CHANNELS)
    if latents != LATENT_CHANNELS:
        raise ConfigError(
            f"base {base}: its VAE has latents of {counted(latents, 'channel')}, allowed: "
            f"{LATENT_CHANNELS}, as in {layout.name}; the two are of different models"
        )
    if channels != latents:
        raise ConfigError(f"base {base} {other_inputs(channels)}")
    for part, config in configs.items():
        if config.get("quantization_config"):
            raise ConfigError(
                f"base {base}: its {part} is quantised (config.json has a quantization_config); "
                "fetch the base with float32 or float16 weights"
            )
    _require_widths(base, layout, configs)
    _require_added(base, layout, configs)
    require_noise_levels(base, scheduler)
    require_undistilled(base, unet, scheduler)


def _require_added(base: str, layout: Layout, configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ConfigError if the UNet takes other things than text and timestep than its family."""
    unet = configs["unet"]
    added, classes = unet.get("addition_embed_type"), unet.get("class_embed_type")
    if added != layout.added or classes is not None:
        raise ConfigError(
            f"base {base}: its UNet takes {added or classes or 'nothing'} beside text and timestep "
            f"(addition_embed_type, class_embed_type), that of {layout.name} "
            f"{layout.added or 'nothing'}; give another base"
        )
    if added is None:
        return
    pooled = configs[layout.encoders[-1].part].get("projection_dim")
    size = unet.get("addition_time_embed_dim")
    inputs = unet.get("projection_class_embeddings_input_dim")
    if not isinstance(pooled, int) or not isinstance(size, int) or pooled + _SIZES * size != inputs:
        raise ConfigError(
            f"base {base}: its UNet takes {inputs} numbers beside text and timestep, allowed: "
            f"{pooled} of the whole text and {_SIZES} sizes of {size} each, as in {layout.name} "
            "(its refiner has 5); give another base"
        )


def _require_widths(base: str, layout: Layout, configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ConfigError if the text encoders do not give what the UNet takes."""
    wide = configs["unet"].get("cross_attention_dim")
    widths = [configs[encoder.part].get("hidden_size") for encoder in layout.encoders]
    numbers = [width for width in widths if isinstance(width, int)]
    given = sum(numbers) if len(numbers) == len(widths) else None
    if isinstance(wide, int) and wide != given:
        several = len(widths) > 1
        raise ConfigError(
            f"base {base}: its text encoder{'s give' if several else ' gives'} {given} numbers for "
            f"each token, its UNet takes {wide}; {'they' if several else 'the two'} are of "
            "different models"
        )


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
