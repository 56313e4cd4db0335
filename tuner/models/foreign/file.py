"""Read a LoRA file of any trainer: what it is, what made it, and every tensor in it."""

from __future__ import annotations

from pathlib import Path

from tuner.models.foreign.lora import ForeignLora


def read_foreign(path: Path) -> ForeignLora:
    """Read the LoRA at `path`: a `.safetensors` file, or a folder as peft or diffusers writes it.

    Every tensor is used, or the file is refused. Raises LoraFileError (a TunerError, one line) for
    a path that is no LoRA, a pickle, a truncated file, and methods or tensors that are not read.
    """
    raise NotImplementedError


def lora_paths(folder: Path) -> list[Path]:
    """Return what `read_foreign` takes in `folder` and the folders in it, in the order of names.

    A file `.safetensors` each, or the folder of a peft adapter.
    """
    raise NotImplementedError
