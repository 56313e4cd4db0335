"""A LoRA file of any trainer, in memory: what it changes, what made it, and for which base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tuner.models.families.family import LoraFamily
from tuner.models.foreign.names import Layout
from tuner.models.foreign.weights import Module

Kind = Literal["lora", "locon", "loha", "lokr", "dora", "full"]
"""Methods: `locon` is a LoRA with convolutions, `full` a whole difference of each weight."""


@dataclass(frozen=True)
class ForeignLora:
    """A LoRA file.

    `modules` are by kohya name (`lora_unet_...`, `lora_te_...`), with the blocks' names of
    diffusers or of the original layout. `layout` is the naming in the file, `trainer` the program
    that wrote it, if its header says so. `unread` counts the tensors that are none of `modules`: 0
    but for families that tuner has no bases of, whose pipelines load the file themselves. `ranks`
    and `alphas` are the distinct ones, ascending. `alias` is the word to prompt with and
    `alias_from` the key it was read from; `triggers` has all words found, best first. `step` and
    `epoch` are of the header, else of the file's name; `run` is that name without them. `sha256` is
    that of names and tensors, without the metadata. `notes` says what a user should know, a line
    each.
    """

    path: Path
    kind: Kind
    layout: Layout
    trainer: str | None
    family: LoraFamily
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
    unread: int = 0
    notes: tuple[str, ...] = ()
