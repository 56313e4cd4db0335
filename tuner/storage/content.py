"""The identity of a model on the disk by its content, so that it may lie anywhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCKS, _BLOCK_BYTES = 128, 1 << 16
_PARTS = (".safetensors", ".pt", ".json", ".yaml", ".yml", ".txt")
"""Weights, configurations and vocabularies; a model does not depend on other files."""


def content_digest(path: Path) -> str | None:
    """Return a SHA-256, in hex, of a model that is a file or a folder; None if it is not there.

    Of a large file its size and 128 blocks count, evenly spread over the file: the weights of two
    models differ everywhere, and reading all of them takes half a minute from a slow disk. A
    folder counts with its weights and configurations, two levels deep as in diffusers' layout, a
    file with the `.yaml` of the same name beside it.
    """
    if path.is_file():
        files = {"": path, "yaml": path.with_suffix(".yaml")}
    elif path.is_dir():
        inside = sorted((*path.glob("*"), *path.glob("*/*")))
        files = {file.relative_to(path).as_posix(): file for file in inside}
        files = {name: file for name, file in files.items() if file.suffix.lower() in _PARTS}
    else:
        return None
    digest = hashlib.sha256()
    for name, file in files.items():
        if file.is_file():
            digest.update(f"{name}\n{file.stat().st_size}\n".encode())
            digest.update(_file_digest(file))
    return digest.hexdigest()


def _file_digest(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _BLOCKS * _BLOCK_BYTES:
            return hashlib.file_digest(file, "sha256").digest()
        digest = hashlib.sha256()
        for block in range(_BLOCKS):
            file.seek((size - _BLOCK_BYTES) * block // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK_BYTES))
        return digest.digest()
