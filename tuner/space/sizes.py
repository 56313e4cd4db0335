"""Sizes of pictures in pixels: their notation, and the native size of a base."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tuner.storage import shipped

STABLE_DIFFUSION_SIZE = 512
"""Native size in pixels of Stable Diffusion 1.5, and of a base whose size is unknown."""

SIZE_RULE = "pixels as a multiple of 8 from 16 to 2048, or WIDTHxHEIGHT of such"
_SIZE_TEXT = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})")


def parse_size(size: int | str) -> tuple[int, int]:
    """Return width and height in pixels of `512` or `512x768`; ValueError for anything else."""
    match = _SIZE_TEXT.fullmatch(size) if isinstance(size, str) else None
    if isinstance(size, str) and match is None:
        raise ValueError(f"{size!r} is no size")
    sides = (int(match[1]), int(match[2])) if match else (int(size), int(size))
    if any(side % 8 or not 16 <= side <= 2048 for side in sides):
        raise ValueError(f"{size} is no size")
    return sides


def as_text(size: tuple[int, int]) -> str:
    """Return a size (width, height) as text: `512`, or `512x768` if the sides differ."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def native_size(base: str) -> int:
    """Return the side in pixels of the square pictures that a base was trained on.

    It is read from a diffusers folder. A hub id or a single file would have to be loaded for it,
    and counts as Stable Diffusion 1.5.
    """
    if base == "mannequin":
        return shipped.NATIVE_SIZE
    try:
        latent = json.loads((Path(base) / "unet" / "config.json").read_text("utf-8"))
        vae = json.loads((Path(base) / "vae" / "config.json").read_text("utf-8"))
        factor: int = 2 ** (len(vae["block_out_channels"]) - 1)
        return int(latent["sample_size"]) * factor
    except (OSError, ValueError, KeyError, TypeError):
        return STABLE_DIFFUSION_SIZE
