"""Identify a single `.safetensors` checkpoint by its header, and check it whole.

diffusers takes the configuration of such a file from the hub. That of each family is shipped here,
so that such a checkpoint needs no network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError

from tuner.errors import ConfigError, MissingModelError
from tuner.models.stored import original_names as original
from tuner.models.stored.architecture import Shapes
from tuner.models.stored.contents import layout_in, refusal
from tuner.models.stored.families import STABLE_DIFFUSION_21, Encoder, Layout
from tuner.models.stored.index import INDEX, read_config, read_index
from tuner.models.stored.layout import expected, fewest_layers, require_kind, require_shapes
from tuner.models.stored.prediction import Prediction, chosen_prediction, file_prediction
from tuner.models.stored.weight_files import Header, read_header, require_numbers

_FIRST = f"{original.UNET}input_blocks.0.0.weight"


@dataclass(frozen=True)
class SingleFile:
    """A checkpoint in the original layout; `config` is its diffusers folder of configurations."""

    path: Path
    layout: Layout
    config: Path
    header: Header = field(repr=False)

    @property
    def layers(self) -> int:
        """The number of layers of its text encoder; of two it is that of the shorter one."""
        parts = (encoder.part for encoder in self.layout.encoders)
        configs = {part: read_config(str(self.path), self.config, part) for part in parts}
        return fewest_layers(self.layout, configs)

    def prediction(self, chosen: str | None) -> Prediction:
        """Return what its UNet predicts; `chosen` is the search space's `base_prediction`."""
        shipped = self.layout.shipped_at(self.config)
        own = None if shipped else read_config(str(self.path), self.config, "scheduler")
        return chosen_prediction(chosen) or file_prediction(
            str(self.path),
            self.path,
            self.header,
            own,
            shipped.name if shipped else self.layout.name,
            self.config == STABLE_DIFFUSION_21,
        )


def read_checkpoint(path: Path) -> SingleFile:
    """Return the checkpoint at `path` if it is a whole one of a known family.

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
    if reason := refusal(shapes):
        raise ConfigError(f"base {path} {reason}")
    layout, own = layout_in(shapes), path.with_suffix("")
    if (own / INDEX).is_file():
        return SingleFile(path, layout, own, header)
    sizes = shapes[_FIRST][0], (shapes.get(layout.context) or (0,))[-1]
    for shipped in layout.shipped:
        if sizes == (shipped.width, shipped.context):
            return SingleFile(path, layout, shipped.folder, header)
    raise ConfigError(
        f"base {path} is of another size than {layout.name}: put its diffusers "
        f"configuration into {own}, or give a diffusers folder"
    )


def check_checkpoint(base: str, file: SingleFile) -> None:
    """Check that a checkpoint has all tensors of its model, with their shapes and finite numbers.

    Raises ConfigError or MissingModelError for the first that is wrong.
    """
    require_numbers(base, "the file", file.header)
    layout, config = file.layout, file.config
    configs = {part: read_config(base, config, part) for part in layout.stems}
    if not layout.shipped_at(config):
        index = read_index(base, config)
        if index.layout != layout:
            raise ConfigError(
                f"base {base}: its tensors are those of {layout.name}, its configuration {config} "
                f"is that of {index.layout.name}; remove the one that is wrong"
            )
        require_kind(base, layout, configs, read_config(base, config, "scheduler"))
        for encoder in layout.encoders:
            if not (config / encoder.tokenizer).is_dir():
                raise MissingModelError(
                    f"base {base}: its configuration {config} lacks {encoder.tokenizer}"
                )
    there = {_full_name(layout, name): shape for name, shape in file.header.shapes.items()}
    wanted = _networks(base, file)
    for encoder in layout.encoders:
        wanted[encoder.part.replace("_", " ")] = _text(base, file, encoder)
    for part, shapes in wanted.items():
        require_shapes(base, part, there, shapes)


def _networks(base: str, file: SingleFile) -> dict[str, Shapes]:
    """Return the shapes of UNet and VAE, if they are of known kinds, by the original names."""
    wanted: dict[str, Shapes] = {}
    unet = read_config(base, file.config, "unet")
    if shapes := expected(base, file.layout, "unet", unet):
        attentive = ["CrossAttn" in kind for kind in unet["up_block_types"]]
        layers = int(unet.get("layers_per_block", 2))
        wanted["unet"] = {
            original.UNET + original.unet_name(name, layers, attentive): shape
            for name, shape in shapes.items()
        }
    vae = read_config(base, file.config, "vae")
    if shapes := expected(base, file.layout, "vae", vae):
        blocks = len(vae["up_block_types"])
        wanted["vae"] = {
            original.VAE + original.vae_name(name, blocks): shape for name, shape in shapes.items()
        }
    return wanted


def _text(base: str, file: SingleFile, encoder: Encoder) -> Shapes:
    """Return the shapes of a text encoder by its original names, in the layout that the file has.

    A projection in transformers' layout is part of no checkpoint.
    """
    config = read_config(base, file.config, encoder.part)
    opened = bool(encoder.open_clip) and any(
        name.startswith(encoder.open_clip) for name in file.header.shapes
    )
    shapes = expected(base, file.layout, encoder.part, config, opened) or {}
    if opened:
        return {encoder.open_clip + name: shape for name, shape in shapes.items()}
    return {encoder.clip + original.text_name(name): shape for name, shape in shapes.items()}


def _full_name(layout: Layout, name: str) -> str:
    """Return the usual name of a text encoder's tensor; some programs leave out a level of it."""
    for encoder in layout.encoders:
        if encoder.clip and name.startswith(encoder.clip):
            return encoder.clip + original.text_name(name.removeprefix(encoder.clip))
    return name
