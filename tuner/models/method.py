"""What a run trains, and how its file is used: a LoRA beside the weights, or the weights anew.

Everything that trains, samples or measures asks here and does not know the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from tuner.models import adapter, dreambooth
from tuner.models.base import BaseModel
from tuner.models.metadata import clip_skip_in
from tuner.space import TrainConfig


@dataclass(frozen=True)
class Trainable:
    """The models of a run as the training step calls them, and what of them is trained.

    `groups` are the optimizer's; `save` writes what was trained to a file with its metadata.
    """

    unet: Any
    text_encoder: Any
    groups: list[dict[str, Any]]
    save: Callable[[Path, Mapping[str, str]], None]

    @property
    def weights(self) -> list[torch.nn.Parameter]:
        """Everything that the optimizer moves, float32."""
        return [weight for group in self.groups for weight in group["params"]]


def trainable(base: BaseModel, config: TrainConfig, name: str) -> Trainable:
    """What a run of `config` trains: a LoRA called `name` on the base, or copies of its parts."""
    pipeline = base.pipeline
    if config.method == "lora":
        lora = adapter.attach(base, config, name)
        save = partial(adapter.save, base, name)
        return Trainable(pipeline.unet, pipeline.text_encoder, lora, save)
    parts = dreambooth.copies(base, config)
    return Trainable(
        parts["unet"],
        parts.get("text_encoder", pipeline.text_encoder),
        dreambooth.groups(parts, config),
        partial(dreambooth.save, parts),
    )


@contextmanager
def loaded(base: BaseModel, path: Path | None) -> Iterator[None]:
    """The base with what the file at `path` holds; None: the base as it is. Undone afterwards.

    Raises LoraFileError or WeightsError for a file that is broken or does not fit the base.
    """
    if path is None or not dreambooth.is_whole(path):
        with adapter.loaded(base, path):
            yield
    else:
        with adapter.loaded(base, None), dreambooth.loaded(base, path):
            yield


def clip_skip(base: BaseModel, path: Path | None) -> int:
    """From which layer of the text encoder the file at `path` wants its prompts read, 1 the last.

    Without a file, what is set for the base.
    """
    if path is None:
        return base.clip_skip
    try:
        with safe_open(path, framework="pt") as opened:
            return clip_skip_in(opened.metadata() or {})
    except (SafetensorError, OSError):
        return 1  # what loads the file tells what is wrong
