"""Both training methods behind one interface: a LoRA beside the weights, or new weights.

Code that trains, samples or measures uses this module and does not need to know the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from tuner.models import adapter, dreambooth
from tuner.models.base import BaseModel
from tuner.models.composed import stacked
from tuner.models.foreign.apply import apply_foreign
from tuner.models.foreign.file import read_foreign
from tuner.models.metadata import clip_skip_in
from tuner.models.pipelines import PipelineBase, with_lora
from tuner.space import TrainConfig


@dataclass(frozen=True)
class Weighted:
    """The file of any trainer, and the strength at which it is put on a base."""

    path: Path
    strength: float = 1.0


Trained = Path | Weighted
"""What changes a base: a file that tuner wrote, or one of any trainer with its strength."""


@dataclass(frozen=True)
class Trainable:
    """The models of a run as the training step calls them, with the trained weights.

    `groups` are the optimizer's; `save` writes the trained weights to a file with its metadata.
    """

    unet: Any
    encoders: Sequence[Any]
    groups: list[dict[str, Any]]
    save: Callable[[Path, Mapping[str, str]], None]

    @property
    def weights(self) -> list[torch.nn.Parameter]:
        """All weights that the optimizer changes, float32."""
        return [weight for group in self.groups for weight in group["params"]]


def trainable(base: BaseModel, config: TrainConfig, name: str) -> Trainable:
    """Return what `config` trains: a LoRA called `name` on the base, or copies of its parts."""
    networks = base.networks
    if config.method == "lora":
        lora = adapter.attach(base, config, name)
        if base.device.type == "cpu":
            lora = stacked(networks["unet"], lora)
        save = partial(adapter.save, base, name)
        return Trainable(networks["unet"], [*base.encoders.values()], lora, save)
    parts = dreambooth.copies(base, config)
    return Trainable(
        parts["unet"],
        [parts.get(name, encoder) for name, encoder in base.encoders.items()],
        dreambooth.groups(parts, config),
        partial(dreambooth.save, parts),
    )


@contextmanager
def loaded(base: BaseModel, path: Trained | None) -> Iterator[None]:
    """Apply the file at `path` to the base for a while; None: the base alone.

    Raises LoraFileError or WeightsError for a file that is broken or does not fit the base.
    """
    if isinstance(base, PipelineBase):
        file = path if isinstance(path, Weighted) or path is None else Weighted(path)
        with with_lora(base, file.path, file.strength) if file else nullcontext():
            yield
    elif isinstance(path, Weighted):
        with (
            adapter.loaded(base, None),
            apply_foreign(base, read_foreign(path.path), path.strength),
        ):
            yield
    elif path is None or not dreambooth.is_whole(path):
        with adapter.loaded(base, path):
            yield
    else:
        with adapter.loaded(base, None), dreambooth.loaded(base, path):
            yield


def clip_skip(base: BaseModel, path: Trained | None) -> int:
    """Return the layer of the text encoder, from the last (1), for prompts of the file at `path`.

    Without a file it is the base's setting.
    """
    if path is None:
        return base.clip_skip
    file = path.path if isinstance(path, Weighted) else path
    try:
        with safe_open(file, framework="pt") as opened:
            return clip_skip_in(opened.metadata() or {})
    except (SafetensorError, OSError):
        return 1  # loading the file reports what is wrong
