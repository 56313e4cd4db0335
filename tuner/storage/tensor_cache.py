"""Cache on the disk for tensors that a network computes, keyed by all inputs."""

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
_CONTENT = "content"
"""The digest of the tensors, in a file's metadata: a damaged file must not be trained on."""


@dataclass(frozen=True)
class TensorCache:
    """A folder of cached tensors; `parts` has the digest of each network's weights by name."""

    folder: Path
    parts: Mapping[str, str]

    def tensors(self, part: str, made_of: Sequence[object], make: Callable[[], Tensors]) -> Tensors:
        """Return the tensors that `make` computes with the network `part`, on the CPU.

        They are read from the cache if they were computed before. `made_of` has every input that
        changes them beside the network's weights; equal inputs have equal `str`. A file that cannot
        be read is written again.
        """
        inputs = "\n".join([_FORMAT, part, self.parts[part], *map(str, made_of)])
        key = hashlib.sha256(inputs.encode()).hexdigest()
        file = self.folder / f"{part}-{key[:20]}.safetensors"
        tensors = _read(file, key)
        if tensors is None:
            # The memory layout is that of tensors read from the file, so that a training run gives
            # the same weights in both cases.
            tensors = {name: value.detach().cpu().contiguous() for name, value in make().items()}
            with replacing(file) as temporary:
                # Not save_file, whose errors do not say that the disk is full.
                temporary.write_bytes(save(tensors, {"key": key, _CONTENT: _digest(tensors)}))
        return tensors


def weights_digest(network: torch.nn.Module) -> str:
    """Return the SHA-256 digest of a network's weights: their names, types, shapes and values."""
    return _digest(network.state_dict())


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    whole = hashlib.sha256()
    for name, weights in sorted(tensors.items()):
        whole.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        whole.update(weights.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()


def _read(file: Path, key: str) -> Tensors | None:
    try:
        with safe_open(file, framework="pt") as kept:
            if (kept.metadata() or {}).get("key") != key:
                return None
            # Copied, because the file's memory alignment changes the last bits of sums.
            tensors = {name: kept.get_tensor(name).clone() for name in kept.keys()}  # noqa: SIM118
            return tensors if kept.metadata().get(_CONTENT) == _digest(tensors) else None
    except (OSError, RuntimeError, SafetensorError):
        return None
