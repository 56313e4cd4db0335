"""Read the small files of a diffusers folder: its index, which names the family, and its settings.

A pipeline that tuner does not train is refused with what to use instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import ConfigError
from tuner.models.stored.families import LAYOUTS, STABLE_DIFFUSION_XL, Layout, layout_named
from tuner.models.stored.weight_files import broken, lacks, short

INDEX = "model_index.json"

_OTHERS = {
    "InpaintPipeline": "a model for inpainting: give the model that it was made from",
    "StableDiffusionXLImg2ImgPipeline": "the refiner of Stable Diffusion XL, which only changes "
    f"pictures: give the base, such as {STABLE_DIFFUSION_XL.example}",
    "InstructPix2PixPipeline": "a model that edits pictures: give the model that it was made from",
    "LatentConsistencyModelPipeline": "distilled to draw in few steps: give the model that it was "
    "made from",
}
"""What other pipelines are, and what to use instead, by the end of the class's name."""


@dataclass(frozen=True)
class Index:
    """The family that a model_index.json names, and its contents."""

    layout: Layout
    values: Mapping[str, Any]

    def names(self, part: str) -> bool:
        """Return True if the index names a class for `part`."""
        named = self.values.get(part)
        return isinstance(named, list) and len(named) == 2 and all(named)


def read_index(base: str, folder: Path) -> Index:
    """Return the model_index.json of a base of a known family.

    Raises ConfigError if there is none, if it is broken, and if it is that of another pipeline.
    """
    why = f"base {base}: not a diffusers folder, it has no readable {INDEX}"
    path = folder / INDEX
    if not path.is_file():
        near = sorted(file.parent.name for file in folder.glob(f"*/{INDEX}"))[:1]
        hint = f"; did you mean its folder {near[0]}?" if near else ""
        raise ConfigError(f"{why}: there is no such file{hint}")
    try:
        values = json.loads(path.read_text("utf-8-sig"))
    except PermissionError:
        raise  # fetching the file again would not help
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{why}: the file is broken ({short(error)}); fetch it again") from None
    if not isinstance(values, dict) or not isinstance(values.get("_class_name"), str):
        raise ConfigError(f"{why}: the file names no pipeline (_class_name); fetch it again")
    kind = values["_class_name"]
    layout = layout_named(kind)
    if layout is None:
        what = next((f"{text}; " for end, text in _OTHERS.items() if kind.endswith(end)), "")
        raise ConfigError(f"base {base} is a {kind}, {what}allowed: {_allowed()}")
    return Index(layout, values)


def read_config(base: str, folder: Path, part: str) -> dict[str, Any]:
    """Return the configuration of a part of a diffusers folder.

    Raises MissingModelError if it is missing or broken.
    """
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    path = folder / part / name
    if not path.is_file():
        raise lacks(base, f"{part}/{name}")
    return read_object(base, path)


def read_object(base: str, path: Path) -> dict[str, Any]:
    """Return the keys and values of a JSON file. Raises MissingModelError if it is broken."""
    name = f"{path.parent.name}/{path.name}"
    try:
        values = json.loads(path.read_text("utf-8-sig"))
    except PermissionError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise broken(base, name, short(error)) from None
    if not isinstance(values, dict):
        raise broken(base, name, "no keys and values")
    return values


def _allowed() -> str:
    return " or ".join(f"{layout.pipeline} ({layout.name})" for layout in LAYOUTS)
