"""Read a LoRA file of any trainer: what it is, what made it, and every tensor in it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from tuner.models.foreign.family import OWN, family
from tuner.models.foreign.header import point, trainer, trigger_words
from tuner.models.foreign.lora import ForeignLora, Kind
from tuner.models.foreign.names import Key, Layout, other_method, parse_key
from tuner.models.foreign.not_lora import require_lora, require_readable
from tuner.models.foreign.settings import Settings, read_settings
from tuner.models.foreign.weights import NEEDED, Method, Module
from tuner.models.lora_file import LoraFileError
from tuner.models.metadata import DORA_FOR
from tuner.text import counted, show

_ADAPTER = "adapter_model.safetensors"
_PARTS = ("unet", "text_encoder", "text_encoder_2")
_METHODS: tuple[tuple[str, Method], ...] = (("hada_", "loha"), ("lokr_", "lokr"), ("diff", "full"))
_CONVOLUTION = 4


@dataclass
class _Layer:
    """What a file has of one layer, in the order in which it is found."""

    parts: dict[str, torch.Tensor] = field(default_factory=dict)
    alpha: float | None = None
    magnitude: torch.Tensor | None = None
    outputs: bool = False
    ratio: float | None = None


def read_foreign(path: Path) -> ForeignLora:
    """Read the LoRA at `path`: a `.safetensors` file, or a folder as peft or diffusers writes it.

    Every tensor is used, or the file is refused. Raises LoraFileError (a TunerError, one line) for
    a path that is no LoRA, a pickle, a truncated file, and methods or tensors that are not read.
    """
    tensors: dict[str, torch.Tensor] = {}
    metadata: dict[str, str] = {}
    files = list(_files(path))
    digest = hashlib.sha256()
    for start, file in files:
        own, header = _load(path, file)
        metadata |= header
        tensors |= {start + key: tensor for key, tensor in own.items()}
    for key in sorted(tensors):
        _digest(digest, key, tensors[key])
    settings = read_settings(path, files, metadata)
    layers, keys, unread = _layers(path, tensors, settings)
    modules = {name: _module(path, name, layer) for name, layer in layers.items()}
    found = family(modules, metadata)
    if unread and found in OWN:
        raise _unread(path, unread, len(tensors))
    if not modules and not unread:
        raise LoraFileError(f"{path.name} holds no LoRA")
    if program := metadata.get(DORA_FOR):
        raise LoraFileError(
            f"{path.name}: the DoRA has scales for {show(program)}, and is right in that program "
            "alone; give the file that was exported without --dora-for"
        )
    words, where = trigger_words(metadata), point(metadata, path)
    return ForeignLora(
        path=path,
        kind=_kind(modules),
        layout=_layout(keys),
        trainer=trainer(metadata),
        family=found,
        modules=modules,
        ranks=tuple(sorted({each.rank for each in modules.values() if each.rank is not None})),
        alphas=tuple(sorted({each.scale * each.rank for each in modules.values() if each.rank})),
        alias=words.words[0] if words.words else None,
        alias_from=words.source,
        triggers=words.words,
        run=where.run,
        step=where.step,
        epoch=where.epoch,
        sha256=digest.hexdigest(),
        metadata=metadata,
        unread=len(unread),
        notes=tuple(_notes(modules, settings, keys)),
    )


def lora_paths(folder: Path) -> list[Path]:
    """Return what `read_foreign` takes in `folder` and the folders in it, in the order of names.

    A file `.safetensors` each, or the folder of a peft adapter.
    """
    if _is_adapter(folder):
        return [folder]
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            found += lora_paths(entry)
        elif entry.suffix == ".safetensors" and entry.is_file():
            found.append(entry)
    return found


def _is_adapter(folder: Path) -> bool:
    return any((folder / part / _ADAPTER).is_file() for part in ("", *_PARTS))


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a LoRA, each with what stands before the names of its tensors."""
    if not path.is_dir():
        require_readable(path)
        yield "", path
        return
    if (path / _ADAPTER).is_file():
        yield "", path / _ADAPTER
    elif parts := [part for part in _PARTS if (path / part / _ADAPTER).is_file()]:
        for part in parts:
            yield f"{part}.", path / part / _ADAPTER
    elif (path / "pytorch_lora_weights.safetensors").is_file():
        yield "", path / "pytorch_lora_weights.safetensors"
    else:
        require_readable(path)


def _load(path: Path, file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
            names = list(opened.keys())
            require_lora(path, names, metadata)
            return {name: opened.get_tensor(name) for name in names}, metadata
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise LoraFileError(
            f"{path.name} is no whole safetensors file ({reason}); copy or fetch it again"
        ) from error


def _digest(digest: Any, key: str, tensor: torch.Tensor) -> None:
    """Add a tensor to a hash: its name, its shape, its dtype and its bytes."""
    digest.update(json.dumps([key, list(tensor.shape), str(tensor.dtype)]).encode())
    digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


def _layers(
    path: Path, tensors: Mapping[str, torch.Tensor], settings: Settings
) -> tuple[dict[str, _Layer], list[Key], list[str]]:
    """Return the layers by kohya name, the keys that were read, and those that were not."""
    layers: dict[str, _Layer] = {}
    keys: list[Key] = []
    unread: list[str] = []
    for name, tensor in tensors.items():
        if (key := parse_key(name)) is None:
            unread.append(name)
            continue
        keys.append(key)
        layer = layers.setdefault(key.name, _Layer())
        _check(path, name, tensor)
        if key.part in layer.parts or (key.part == "magnitude" and layer.magnitude is not None):
            raise LoraFileError(f"{path.name} names the layer of {show(name)} twice")
        if key.part == "alpha":
            if tensor.numel() != 1:
                raise LoraFileError(f"{path.name}: {show(name)} is not one number")
            layer.alpha = float(tensor)
        elif key.part == "magnitude":
            layer.magnitude, layer.outputs = tensor, key.outputs
        else:
            layer.parts[key.part] = tensor
            if layer.alpha is None:
                layer.alpha = settings.alpha(key, tensor)
            layer.ratio = settings.ratio(key)
    return layers, keys, unread


def _check(path: Path, name: str, tensor: torch.Tensor) -> None:
    if not tensor.is_floating_point():
        raise LoraFileError(f"{path.name}: {show(name)} is {tensor.dtype}, no floating point")
    if not tensor.float().isfinite().all():
        raise LoraFileError(f"{path.name}: {show(name)} holds values that are not finite")


def _module(path: Path, name: str, layer: _Layer) -> Module:
    there = frozenset(layer.parts)
    method: Method = next(
        (method for start, method in _METHODS if any(part.startswith(start) for part in there)),
        "lora",
    )
    if there not in NEEDED[method]:
        has = " and ".join(sorted(there)) or "alpha"
        raise LoraFileError(f"{path.name}: {name} has only {has}, which is no whole {method}")
    least = 1 if method == "full" else 2
    if flat := sorted(part for part, tensor in layer.parts.items() if tensor.ndim < least):
        shape = tuple(layer.parts[flat[0]].shape)
        raise LoraFileError(f"{path.name}: {name} has {flat[0]} of shape {shape}, no matrix")
    magnitude = layer.magnitude
    if magnitude is not None and layer.outputs:
        dimensions = layer.parts["down"].ndim if "down" in layer.parts else 2
        magnitude = magnitude.reshape(-1, *[1] * (dimensions - 1))
    module = Module(method, layer.parts, layer.alpha, magnitude, layer.ratio)
    if method == "lora":
        _require_ranks(path, name, module)
    return module


def _require_ranks(path: Path, name: str, module: Module) -> None:
    down, up, mid = module.parts["down"], module.parts["up"], module.parts.get("mid")
    inner = down.shape[:1] if mid is None else mid.shape[:2]
    if down.ndim < 2 or up.ndim < 2 or (up.shape[1], down.shape[0]) != (inner[0], inner[-1]):
        raise LoraFileError(
            f"{path.name}: {name} has down {tuple(down.shape)} and up {tuple(up.shape)}: their "
            "ranks disagree"
        )


def _kind(modules: Mapping[str, Module]) -> Kind:
    """Return the method of most layers; `dora` if any has magnitudes."""
    if any(each.magnitude is not None for each in modules.values()):
        return "dora"
    method = Counter(each.method for each in modules.values()).most_common(1)
    if method and method[0][0] != "lora":
        return method[0][0]
    wide = any(
        each.method == "lora"
        and each.parts["down"].ndim == _CONVOLUTION
        and ("mid" in each.parts or each.parts["down"].shape[-1] > 1)
        for each in modules.values()
    )
    return "locon" if wide else "lora"


def _layout(keys: list[Key]) -> Layout:
    return Counter(key.layout for key in keys).most_common(1)[0][0] if keys else "kohya"


def _unread(path: Path, names: list[str], whole: int) -> LoraFileError:
    what = Counter(other_method(name) for name in names)
    unknown = what.pop("nothing that is known", 0)
    because = what.most_common(1)[0][0] if what else "no LoRA that is known"
    first = next(name for name in names if other_method(name) == because or not what)
    del unknown
    return LoraFileError(
        f"{path.name}: {len(names)} of {counted(whole, 'tensor')} are {because}, which is not read "
        f"(first: {show(first)}); without them it would be another LoRA"
    )


def _notes(modules: Mapping[str, Module], settings: Settings, keys: list[Key]) -> Iterator[str]:
    yield from settings.notes(keys)
    inputs = [
        each
        for each in modules.values()
        if each.magnitude is not None and each.magnitude.ndim > 1 and each.magnitude.shape[0] == 1
    ]
    if any(each.magnitude is not None for each in modules.values()):
        along = "inputs" if inputs else "outputs"
        yield (
            f"a DoRA with lengths of the {along}, computed as it was trained (LyCORIS, OneTrainer, "
            "peft); ComfyUI, Forge and A1111 divide by other lengths"
        )
