"""Tensors that cost a network's work, kept on the disk under a key of all that made them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from tuner.storage.files import replacing

Tensors = dict[str, torch.Tensor]

_FORMAT = "1"


@dataclass(frozen=True)
class Shelf:
    """Where tensors are kept; `parts` are the digests of the networks that make them, by name."""

    folder: Path
    parts: Mapping[str, str]

    def tensors(self, part: str, made_of: Sequence[object], make: Callable[[], Tensors]) -> Tensors:
        """What `make` computes with the network `part`, or computed before; on the CPU.

        `made_of` is everything beside the network's weights that changes it, and tells by `str`
        whether it is the same. A file that cannot be read is made again.
        """
        told = "\n".join([_FORMAT, part, self.parts[part], *map(str, made_of)])
        key = hashlib.sha256(told.encode()).hexdigest()
        file = self.folder / f"{part}-{key[:20]}.safetensors"
        found = _read(file, key)
        if found is None:
            made = make()
            # Laid out as it will be read, so that a run has the same weights after either.
            found = {name: one.detach().cpu().contiguous() for name, one in made.items()}
            with replacing(file) as temporary:
                # Not save_file, whose errors do not say that the disk is full.
                temporary.write_bytes(save(found, {"key": key}))
        return found


def weights_digest(network: torch.nn.Module) -> str:
    """The digest of a network's weights: their names, types, shapes and values."""
    whole = hashlib.sha256()
    for name, weights in sorted(network.state_dict().items()):
        whole.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        whole.update(weights.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return whole.hexdigest()


def _read(file: Path, key: str) -> Tensors | None:
    try:
        with safe_open(file, framework="pt") as kept:
            if (kept.metadata() or {}).get("key") != key:
                return None
            # Copied: how a file lies in memory would show in the last bits of sums.
            return {name: kept.get_tensor(name).clone() for name in kept.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
