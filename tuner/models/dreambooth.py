"""DreamBooth: train copies of the base's whole UNet and, if wanted, its text encoders.

The base itself does not change while a run trains. Trained weights are kept as float16 under the
names of diffusers, `unet.NAME`, `text_encoder.NAME` and so on, and replace the base's for sampling.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save as to_bytes

from tuner.errors import TunerError
from tuner.models.base import BaseModel
from tuner.models.families.family import Component
from tuner.space import TrainConfig
from tuner.storage import replacing
from tuner.text import show

_CONTENTS_KEY, _CONTENTS = "tuner.contents", "weights"
"""The metadata that marks a file of whole weights."""

_PARTS = get_args(Component)


class WeightsError(TunerError):
    """A file of whole weights that is missing, broken, or made for another base."""


def copies(base: BaseModel, config: TrainConfig) -> dict[str, torch.nn.Module]:
    """Return copies of the parts of the base that `config` trains, in float32 and with gradients.

    A text encoder is included if its share of the learning rate is above 0.
    """
    return {
        name: copy.deepcopy(part).float().requires_grad_(True)
        for name, part in base.networks.items()
        if config.shares[name] > 0
    }


def groups(parts: Mapping[str, torch.nn.Module], config: TrainConfig) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups: the weights of each part with its rate."""
    return [
        {"params": list(part.parameters()), "lr": config.learning_rate * config.shares[name]}
        for name, part in parts.items()
    ]


def save(parts: Mapping[str, torch.nn.Module], path: Path, metadata: Mapping[str, str]) -> None:
    """Write the trained parts as float16, atomically."""
    tensors = {
        f"{name}.{key}": value.detach().to("cpu", torch.float16).contiguous()
        for name, part in parts.items()
        for key, value in part.state_dict().items()
        if value.is_floating_point()
    }
    with replacing(path) as temporary:
        temporary.write_bytes(to_bytes(tensors, metadata={**metadata, _CONTENTS_KEY: _CONTENTS}))


def read(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Return the weights in a file, by part and name, as float16.

    Raises WeightsError for a file that is missing or broken.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise WeightsError(f"{path} is no whole file of trained weights: {error}") from error
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        part, _, name = key.partition(".")
        if part not in _PARTS or not name:
            raise WeightsError(f"{path}: key {show(key)} belongs to no part of a Stable Diffusion")
        parts.setdefault(part, {})[name] = value
    return parts


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a file of whole weights, without reading the weights.

    Raises WeightsError for a file that is missing or broken.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no whole file of trained weights: {error}") from error


def put_on(base: BaseModel, path: Path) -> None:
    """Replace the base's weights by those of the file at `path`, permanently.

    Raises WeightsError for a file that is broken or of another base; the base is then unchanged.
    """
    weights = read(path)
    networks: dict[str, torch.nn.Module] = dict(base.networks.items())
    for part, tensors in weights.items():
        own = networks[part].state_dict() if part in networks else {}
        wrong = [name for name, value in tensors.items() if _shape(own, name) != value.shape]
        if wrong:
            raise WeightsError(
                f"{path.name}: {part} has no {wrong[0]} of shape {tuple(tensors[wrong[0]].shape)} "
                f"in base {base.name}: it was trained on another base"
            )
    for part, tensors in weights.items():
        networks[part].load_state_dict(tensors, strict=False)


@contextmanager
def loaded(base: BaseModel, path: Path) -> Iterator[None]:
    """Replace the base's weights by those of the file at `path` for a while.

    The base's own weights come back unchanged; until then they are in main memory, so that a GPU
    holds one set only. Errors are those of `put_on`.
    """
    before = {
        part: {name: value.to("cpu", copy=True) for name, value in network.state_dict().items()}
        for part, network in base.networks.items()
    }
    try:
        put_on(base, path)
        yield
    finally:
        for part, tensors in before.items():
            base.networks[part].load_state_dict(tensors)


def is_whole(path: Path) -> bool:
    """Return True if the file at `path` holds whole weights, according to its metadata."""
    try:
        return read_metadata(path).get(_CONTENTS_KEY) == _CONTENTS
    except WeightsError:
        return False  # reading it as a LoRA reports what is wrong


def _shape(own: Mapping[str, torch.Tensor], name: str) -> torch.Size | None:
    return own[name].shape if name in own else None
