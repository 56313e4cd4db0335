"""A LoRA file of any trainer, in memory: what it changes, what made it, and for which base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tuner.models.foreign.weights import Module

Kind = Literal["lora", "locon", "loha", "lokr", "dora", "full"]
"""Methods: `locon` is a LoRA with convolutions, `full` a whole difference of each weight."""

Layout = Literal["kohya", "diffusers", "old diffusers", "peft", "comfyui", "onetrainer", "lycoris"]
"""Naming of the tensors. kohya's is also that of A1111, Forge and ai-toolkit (SD 1.x to XL)."""

Family = Literal[
    "sd1", "sd2", "sdxl", "sd3", "flux", "qwen-image", "z-image", "video", "cascade", "unknown"
]
"""Bases, as far as names and shapes of tensors tell them apart."""


@dataclass(frozen=True)
class ForeignLora:
    """A LoRA file.

    `modules` are by kohya name (`lora_unet_...`, `lora_te_...`), with the blocks' names of
    diffusers or of the original layout; empty for a family that tuner's own bases are not of: its
    pipeline loads it. `ranks` and `alphas` are the distinct ones, ascending. `alias` is the word to
    prompt with and `alias_from` the key it was read from; `triggers` has all words found, best
    first. `step` and `epoch` are of the header, else of the file's name; `run` is that name
    without them. `sha256` is that of names and tensors, without the metadata. `notes` says in whole
    lines what a user should know.
    """

    path: Path
    kind: Kind
    layout: Layout
    family: Family
    modules: Mapping[str, Module] = field(repr=False)
    ranks: tuple[int, ...]
    alphas: tuple[float, ...]
    alias: str | None
    alias_from: str | None
    triggers: tuple[str, ...]
    run: str
    step: int | None
    epoch: int | None
    sha256: str
    metadata: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...] = ()
