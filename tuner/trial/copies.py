"""Embeddings of the training pictures, cached per study, to detect copies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from metrics.contract import Image
from metrics.sets.memory import Memory, remember
from tuner.data import TrainingSet
from tuner.data.folder import TrainingImage
from tuner.storage import replacing
from tuner.training.latents import fitted

Floats = npt.NDArray[np.float32]
Embedding = Callable[[Sequence[Image]], Floats]

_BATCH = 32
_PARTS = ("seen", "held_out")


def remembered(
    training_set: TrainingSet, embedding: Embedding, model: str, size: tuple[int, int], file: Path
) -> Memory | None:
    """Return the memory of a training set, from pictures at the suite's `size` (width, height).

    `embedding` is that of the model called `model`. The vectors are written to `file`, and read
    from there while the data, the model and the size are the same. Returns None for a set that is
    too small.
    """
    key = hashlib.sha256(f"{model} {size} {training_set.sha256}".encode()).hexdigest()
    parts = _read(file, key)
    if parts is None:
        sides = (training_set.images, training_set.held_out)
        parts = [_embedded(images, embedding, size) for images in sides]
        with replacing(file) as temporary:
            # Not save_file, whose errors do not say that the disk is full.
            temporary.write_bytes(save(dict(zip(_PARTS, parts, strict=True)), {"key": key}))
    return remember(*parts)


def _embedded(
    images: Sequence[TrainingImage], embedding: Embedding, size: tuple[int, int]
) -> Floats:
    rows = [
        embedding([np.asarray(fitted(image, size), np.uint8) for image in images[at : at + _BATCH]])
        for at in range(0, len(images), _BATCH)
    ]
    return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)


def _read(file: Path, key: str) -> list[Floats] | None:
    try:
        with safe_open(file, framework="numpy") as kept:
            if (kept.metadata() or {}).get("key") != key:
                return None
            return [kept.get_tensor(name) for name in _PARTS]
    except (OSError, SafetensorError):
        return None
