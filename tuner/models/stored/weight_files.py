"""Headers of `.safetensors` files, and their numbers where few are enough: no network is built."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from tuner.errors import ConfigError, MissingModelError

FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""Dtypes of weights that are no codes of a quantisation."""

_EXPONENTS: Mapping[str, tuple[type, int]] = {
    "F64": (np.uint64, 0x7FF0 << 48),
    "F32": (np.uint32, 0x7F80 << 16),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
    "F8_E5M2": (np.uint8, 0x7C),
    "F8_E4M3": (np.uint8, 0x7F),
}
"""The integer of a number's width, and the bits that are all set in NaN and infinite numbers."""

UNREADABLE = "is no readable diffusers folder"
_ALL_BYTES = 256 * 2**20
_SMALL_BYTES = 256 * 2**10
"""Up to the first size all tensors are read, of larger models those up to the second size: biases
and norms of every layer, which a broken training or merge usually spoils too."""


class NotFiniteError(ConfigError):
    """A base with weights that are NaN or infinite."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file: its shape, its dtype in safetensors' spelling, its place in bytes."""

    path: Path
    shape: tuple[int, ...]
    dtype: str
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """The tensors of one or more files by name, and the metadata of the first."""

    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def read_header(path: Path) -> Header:
    """Return the header of a `.safetensors` file.

    Raises SafetensorError or OSError for a file that is broken or not complete.
    """
    with path.open("rb") as file:
        with safe_open(path, "np"):  # checks that the header fits the file
            pass
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        place = (8 + length + start, 8 + length + end)
        tensors[name] = StoredTensor(path, tuple(entry["shape"]), entry["dtype"], *place)
    return Header(tensors, metadata)


def read_headers(base: str, paths: Iterable[Path]) -> Header:
    """Return the joined header of files, such as the shards of one part of `base`.

    Raises MissingModelError for a file that cannot be read.
    """
    tensors: dict[str, StoredTensor] = {}
    for path in paths:
        try:
            tensors |= read_header(path).tensors
        except PermissionError:
            raise  # fetching the file again would not help
        except (SafetensorError, OSError, ValueError) as error:
            raise MissingModelError(
                f"base {base} {UNREADABLE}: {path.parent.name}/{path.name} is "
                f"broken or not complete ({error}); fetch it again"
            ) from error
    return Header(tensors)


def require_numbers(base: str, part: str, header: Header) -> None:
    """Raise ConfigError for codes of a quantisation, and for numbers that are not finite.

    All of a small model is read; of a large one only its small tensors, as loading it reads all.
    """
    for name, tensor in header.tensors.items():
        counts = name.endswith(".position_ids")  # older text encoders' buffer of 0 to 76
        if tensor.dtype not in FLOATS and len(tensor.shape) > 1 and not counts:
            raise ConfigError(
                f"base {base}: {part} is quantised, {name} is stored as {tensor.dtype}; allowed: "
                "float32, float16, bfloat16 or float8 weights; fetch the base in one of them"
            )
    whole = sum(tensor.end - tensor.start for tensor in header.tensors.values()) <= _ALL_BYTES
    for name, tensor in header.tensors.items():
        if (whole or tensor.end - tensor.start <= _SMALL_BYTES) and not _is_finite(tensor):
            raise not_finite(base, part, name)


def not_finite(base: str, part: str, name: str) -> NotFiniteError:
    """Return the error for a weight of a base that is NaN or infinite."""
    return NotFiniteError(
        f"base {base} draws pictures that are not finite numbers: {part} has NaN or infinite "
        f"weights ({name}); fetch it again, or give another base"
    )


def deviation(tensor: StoredTensor) -> float | None:
    """Return the standard deviation of a float32, float16 or bfloat16 tensor; None for others."""
    match tensor.dtype:
        case "F32":
            numbers = _raw(tensor).view(np.float32)
        case "F16":
            numbers = _raw(tensor).view(np.float16)
        case "BF16":
            numbers = (_raw(tensor).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        case _:
            return None
    return float(numbers.astype(np.float64).std())


def _is_finite(tensor: StoredTensor) -> bool:
    if tensor.dtype not in _EXPONENTS or tensor.end == tensor.start:
        return True
    kind, mask = _EXPONENTS[tensor.dtype]
    bits = kind(mask)
    return not ((_raw(tensor).view(kind) & bits) == bits).any()


def _raw(tensor: StoredTensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with tensor.path.open("rb") as file:
        file.seek(tensor.start)
        return np.frombuffer(file.read(tensor.end - tensor.start), np.uint8)


def lacks(base: str, what: str) -> MissingModelError:
    """Return the error for a part or a file that a base does not have."""
    return MissingModelError(
        f"base {base} lacks {what}, and {UNREADABLE} without; fetch the whole folder again"
    )


def broken(base: str, name: str, reason: str) -> MissingModelError:
    """Return the error for a file of a base that cannot be read."""
    return MissingModelError(f"base {base} {UNREADABLE}: {name} is broken ({reason})")


def short(error: Exception) -> str:
    """Return the message of an error in one line of at most 160 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:160]
