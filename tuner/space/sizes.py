"""Sizes of pictures in pixels: their notation, the native size of a base, and sizes too far off."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from tuner.space.base_name import cached_hub, is_hub_word
from tuner.space.parameters import Choices, Fixed, IntRange, Parameter, Value
from tuner.space.problems import KeyPath, Problem
from tuner.storage import shipped
from tuner.storage.files import read_text
from tuner.text import show

STABLE_DIFFUSION_SIZE, STABLE_DIFFUSION_XL_SIZE = 512, 1024
"""Native sizes in pixels of Stable Diffusion 1.5, also taken for a base whose size is unknown, and
of Stable Diffusion XL."""

_XL_NAME = re.compile(r"xl(?![a-z])", re.IGNORECASE)
"""In the hub id of a Stable Diffusion XL, as a rule: its files may not be here yet."""

_XL_TENSOR = b'"conditioner.embedders.1.'
"""The beginning of names in the header of a single file, which only that family has."""

_MOST_HEADER = 4 * 2**20

_TRANSFORMER_SIDE, _VAE_LEVELS = 128, (1, 2, 4, 4)
"""Side of the latents, and channels of the VAE's levels, where no configuration has them: the
defaults of the pipelines of Flux, Z-Image and Qwen-Image, 1024 px."""

_UNREADABLE = (OSError, ValueError, RecursionError)

SIZE_RULE = "pixels as a multiple of 8 from 16 to 2048, or WIDTHxHEIGHT of such"
_SPACES = {
    shipped.NATIVE_SIZE: "search_spaces/pose.yaml",
    STABLE_DIFFUSION_SIZE: "search_spaces/pose_sd15.yaml",
    1024: "search_spaces/person_sdxl.yaml",
}
"""Shipped search spaces by the native size of the bases that they are for."""

_SIZE_TEXT = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})")


def parse_size(size: object) -> tuple[int, int]:
    """Return width and height in pixels of `512` or `512x768`; ValueError for anything else."""
    match = _SIZE_TEXT.fullmatch(size) if isinstance(size, str) else None
    if match is not None:
        sides = int(match[1]), int(match[2])
    elif isinstance(size, int):
        sides = size, size
    else:
        raise ValueError(f"{size!r} is no size")
    if any(side % 8 or not 16 <= side <= 2048 for side in sides):
        raise ValueError(f"{size} is no size")
    return sides


def as_text(size: tuple[int, int]) -> str:
    """Return a size (width, height) as text: `512`, or `512x768` if the sides differ."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def native_size(base: str) -> int:
    """Return the side in pixels of the square pictures that a base was trained on.

    It is read from a diffusers folder, for a single file from the folder of its name beside it or
    from the names of its tensors, for a hub id from the hub's cache. Of a base that is not here its
    name is all that is known.
    """
    if base == "mannequin":
        return shipped.NATIVE_SIZE
    try:
        folder = cached_hub(base) or Path(base.removesuffix(".safetensors"))
        if (transformer := folder / "transformer" / "config.json").is_file():
            latent = {"sample_size": _TRANSFORMER_SIDE} | json.loads(read_text(transformer))
        else:
            latent = json.loads(read_text(folder / "unet" / "config.json"))
        vae = json.loads(read_text(folder / "vae" / "config.json"))
        factor: int = 2 ** (len(vae.get("block_out_channels", _VAE_LEVELS)) - 1)
        size = int(latent["sample_size"]) * factor
    except (*_UNREADABLE, KeyError, TypeError, AttributeError, ArithmeticError):
        return STABLE_DIFFUSION_XL_SIZE if _looks_like_xl(base) else STABLE_DIFFUSION_SIZE
    return size if 16 <= size <= 4096 else STABLE_DIFFUSION_SIZE


def _looks_like_xl(base: str) -> bool:
    """Return True for a single file with the tensors of SDXL, and for a hub id with its name."""
    if is_hub_word(base):
        return _XL_NAME.search(base) is not None
    if not base.endswith(".safetensors") or not os.path.isfile(base):
        return False
    try:
        with open(base, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return _XL_TENSOR in file.read(min(length, _MOST_HEADER))
    except OSError:
        return False


def size_problems(base: object, train: Mapping[str, Parameter], suite: object) -> list[Problem]:
    """Return problems: training and sampling sizes outside half to twice the native size."""
    if not isinstance(base, str):
        return []
    sizes: list[tuple[KeyPath, Value]] = []
    path: KeyPath = ("train", "resolution")
    match train.get("resolution"):
        case Fixed(value):
            sizes.append((path, value))
        case Choices(choices):
            sizes += [((*path, "choices", i), value) for i, value in enumerate(choices)]
        case IntRange(low, high):
            sizes += [((*path, "low"), low), ((*path, "high"), high)]
    if isinstance(suite, Mapping) and isinstance(size := suite.get("size"), int | str):
        sizes.append((("suite", "size"), size))
    if isinstance(suite, Mapping) and isinstance(also := suite.get("also_at"), list | tuple):
        sizes += [(("suite", "also_at", place), other) for place, other in enumerate(also)]
    unfit = (size_problem(where, size, base) for where, size in sizes)
    return [problem for problem in unfit if problem is not None]


def other_base_problems(bases: object, suite: object) -> list[Problem]:
    """Return problems: further bases that are not made for pictures of the suite's size."""
    if not isinstance(bases, list) or not isinstance(suite, Mapping):
        return []
    named = [(place, base) for place, base in enumerate(bases) if isinstance(base, str)]
    unfit = [(place, size_problem((), suite.get("size"), base)) for place, base in named]
    return [Problem(("also_sample_on", n), f"suite.size: {each.text}") for n, each in unfit if each]


def size_problem(path: KeyPath, size: Value, base: str) -> Problem | None:
    """Return a problem if a size is outside half to twice the native size of `base`."""
    try:
        sides = parse_size(size)
    except ValueError:
        return None  # reported as a wrong value already
    native = native_size(base)
    if _fits(sides, native):
        return None
    files = [file for other, file in _SPACES.items() if _fits(sides, other)]
    own = _SPACES[max((other for other in _SPACES if other <= native), default=min(_SPACES))]
    hint = f"; {files[0]} is for such sizes, {own} for such bases" if files else ""
    return Problem(
        path,
        f"found {size}, allowed: {native // 2} to {native * 2} px, half to twice the native size "
        f"of base {show(base)}{hint}",
    )


def _fits(sides: tuple[int, int], native: int) -> bool:
    return all(native <= 2 * side and side <= 2 * native for side in sides)
