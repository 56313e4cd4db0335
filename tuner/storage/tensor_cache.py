"""Cache on disk for tensors that a network computes, under a key of everything they depend on."""

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
class TensorCache:
    """A folder of cached tensors; `parts` are the digests of the networks, by name."""

    folder: Path
    parts: Mapping[str, str]

    def tensors(self, part: str, made_of: Sequence[object], make: Callable[[], Tensors]) -> Tensors:
        """Return the tensors that `make` computes with the network `part`, cached, on the CPU.

        `made_of` is everything beside the network's weights that they depend on, compared as `str`.
        A file that cannot be read is made again.
        """
        text = "\n".join([_FORMAT, part, self.parts[part], *map(str, made_of)])
        key = hashlib.sha256(text.encode()).hexdigest()
        file = self.folder / f"{part}-{key[:20]}.safetensors"
        kept = _read(file, key)
        if kept is None:
            made = make()
            # The same memory layout as after reading, so that a run gives the same weights.
            kept = {name: value.detach().cpu().contiguous() for name, value in made.items()}
            with replacing(file) as temporary:
                # Not save_file, whose errors do not say that the disk is full.
                temporary.write_bytes(save(kept, {"key": key}))
        return kept


def weights_digest(network: torch.nn.Module) -> str:
    """Return the digest of a network's weights: their names, types, shapes and values."""
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
            # Copied: the alignment of a mapped file would change the last bits of sums.
            return {name: kept.get_tensor(name).clone() for name in kept.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
