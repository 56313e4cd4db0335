"""Choose the weight files of a base: plain ones or a variant, single files or shards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tuner.errors import ConfigError
from tuner.models.stored.weight_files import broken, lacks, short

_STEMS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
NETWORKS = tuple(_STEMS)
"""The parts of a base that have weights."""

_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5")
_SHARD = re.compile(r"-\d+-of-\d+")
_WEIGHT = re.compile(
    r"(\.(?P<variant>[^.]+?))?(?P<shard>-\d+-of-\d+)?\.safetensors"
    r"(\.index(\.(?P<indexed>[^.]+))?\.json)?"
)
"""The end of a weight file's name: a variant, a shard, an index."""

_BEST_VARIANTS = ("fp32", "fp16", "bf16")


def choose_weights(base: str, names: Iterable[str]) -> tuple[str | None, dict[str, list[str]]]:
    """Return the variant to open and its files of each part, of a model's file names.

    Names are relative to the model's folder, such as `unet/diffusion_pytorch_model.safetensors`.
    Plain files come first, then the variants fp32, fp16, bf16 and others. Raises MissingModelError
    if a part has no weights, ConfigError if a part has pickled ones only.
    """
    names = sorted(names)
    parts = {part: _variants(names, part) for part in NETWORKS}
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
        raise lacks(base, f"{part}/{_STEMS[part]}.safetensors")
    others = {variant for variants in parts.values() for variant in variants if variant}
    order = [*_BEST_VARIANTS, *sorted(others.difference(_BEST_VARIANTS))]
    for variant in ("", *order):
        # diffusers opens the plain file of a part that does not have the variant.
        files = {part: own.get(variant, own.get("", [])) for part, own in parts.items()}
        if all(files.values()):
            return variant or None, files
    kinds = "; ".join(f"{part}: {', '.join(variants)}" for part, variants in parts.items())
    raise ConfigError(f"base {base}: its parts have no variant in common ({kinds})")


def _variants(names: Iterable[str], part: str) -> dict[str, list[str]]:
    """Return the weight files of a part by variant; the variant of plain names is empty.

    A sharded file comes with its index; shards without an index do not count.
    """
    stem = f"{part}/{_STEMS[part]}"
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
