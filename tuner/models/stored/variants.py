"""Choose the weight files of a base: plain ones or a variant, single files or shards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tuner.errors import ConfigError
from tuner.models.stored.families import Layout
from tuner.models.stored.weight_files import broken, lacks, short

_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5")
_SHARD = re.compile(r"-\d+-of-\d+")
_WEIGHT = re.compile(
    r"(\.(?P<variant>[^.]+?))?(?P<shard>-\d+-of-\d+)?\.safetensors"
    r"(\.index(\.(?P<indexed>[^.]+))?\.json)?"
)
"""The end of a weight file's name: a variant, a shard, an index."""


def choose_weights(
    base: str, layout: Layout, names: Iterable[str]
) -> tuple[str | None, dict[str, list[str]]]:
    """Return the variant to open and its files of each part, of a model's file names.

    Names are relative to the model's folder, such as `unet/diffusion_pytorch_model.safetensors`.
    The family's order of variants holds, others come last. Raises MissingModelError if a part has
    no weights, ConfigError if a part has pickled ones only.
    """
    names = sorted(names)
    parts = {part: _variants(names, f"{part}/{stem}") for part, stem in layout.stems.items()}
    for part, variants in parts.items():
        if variants:
            continue
        own = [name for name in names if name.startswith(f"{part}/")]
        pickled = [name for name in own if Path(name).suffix in _PICKLES]
        if pickled:
            raise ConfigError(
                f"base {base}: its {part} has pickled weights only ({pickled[0]}), which can run "
                "code; give a base with .safetensors files"
            )
        raise lacks(base, f"{part}/{layout.stems[part]}.safetensors")
    there = {variant for variants in parts.values() for variant in variants}
    order = [variant for variant in layout.variants if variant in there]
    for variant in (*order, *sorted(there.difference(order))):
        # diffusers opens the plain file of a part that does not have the variant.
        files = {part: own.get(variant, own.get("", [])) for part, own in parts.items()}
        if all(files.values()):
            return variant or None, files
    kinds = "; ".join(f"{part}: {', '.join(variants)}" for part, variants in parts.items())
    raise ConfigError(f"base {base}: its parts have no variant in common ({kinds})")


def _variants(names: Iterable[str], stem: str) -> dict[str, list[str]]:
    """Return the weight files of a part by variant; the variant of plain names is empty.

    `stem` is the part with the beginning of its files' names. A sharded file comes with its index;
    shards without an index do not count.
    """
    files: dict[str, list[str]] = {}
    whole: set[str] = set()
    for name in names:
        match = _WEIGHT.fullmatch(name.removeprefix(stem)) if name.startswith(stem) else None
        if match is None:
            continue
        variant = match["variant"] or match["indexed"] or ""
        files.setdefault(variant, []).append(name)
        if not match["shard"]:
            whole.add(variant)
    return {variant: own for variant, own in files.items() if variant in whole}


def opened(base: str, folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the paths of weights among `names`: one file, or all shards that its index names."""
    paths = [folder / name for name in names]
    single = [path for path in paths if path.suffix != ".json" and not _SHARD.search(path.name)]
    return single or _shards(base, next(path for path in paths if path.suffix == ".json"))


def _shards(base: str, index: Path) -> list[Path]:
    name = f"{index.parent.name}/{index.name}"
    try:
        named = sorted(set(json.loads(index.read_text("utf-8-sig"))["weight_map"].values()))
        paths = [index.parent / str(shard) for shard in named]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken(base, name, short(error)) from None
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise lacks(base, f"{index.parent.name}/{', '.join(missing)}, which {index.name} names")
    return paths
