"""Put a LoRA of any trainer on a base at a strength, and take it off again without a trace.

Plain LoRAs lie beside the weights, as those of tuner's own runs do. What no LoRA layer computes
(LoHa, LoKr, magnitudes, whole differences) is added to the weights, as ComfyUI and A1111 do, and
the weights are put back afterwards from a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from tuner.models.adapter import applied, models
from tuner.models.base import BaseModel
from tuner.models.foreign.family import WORDS, text_width
from tuner.models.foreign.lora import ForeignLora
from tuner.models.foreign.weights import Module
from tuner.models.lora_file import LoraFile, LoraFileError, LoraModule, layers
from tuner.text import counted

Layer = tuple[str, torch.nn.Module, Module]
"""The kohya name of a layer in this base, the layer itself and its module."""


@contextmanager
def apply_foreign(base: BaseModel, lora: ForeignLora, strength: float = 1.0) -> Iterator[None]:
    """Put `lora` on UNet and text encoder of `base` at `strength` for a while.

    Afterwards every weight of the base has the bits it had before, even after an error. The
    strength multiplies the change of each weight. Other adapters are inactive meanwhile. Raises
    LoraFileError for a LoRA of another base, and for one with modules that the base does not have;
    the base is then unchanged.
    """
    beside, added = fitting(base, lora)
    with (
        applied(base, beside if beside.modules else None, strength),
        _added(lora, added, strength),
    ):
        yield


def fitting(base: BaseModel, lora: ForeignLora) -> tuple[LoraFile, list[Layer]]:
    """Return what of `lora` goes beside the weights of `base`, and what is added to them.

    Nothing is changed. Raises LoraFileError, with the base that it wants, for a LoRA that does not
    fit; shapes of what is added are checked when it is.
    """
    _require_family(base, lora)
    found, strangers = _layers(base, lora)
    if strangers:
        raise LoraFileError(
            f"{lora.path.name}: {len(strangers)} of {counted(len(lora.modules), 'module')} are not "
            f"in base {base.name} (first: {strangers[0]}){_wanted(lora)}"
        )
    beside: dict[str, LoraModule] = {}
    added: list[Layer] = []
    for name, layer, module in found:
        if (plain := module.plain()) is None:
            added.append((name, layer, module))
        else:
            with _naming(lora, name):
                beside[name] = _shaped(plain, layer)
    return LoraFile(beside), added


def _require_family(base: BaseModel, lora: ForeignLora) -> None:
    own = base.family.lora_families(base.pipeline)
    if lora.family not in (*own, "unknown"):
        is_a = f"a {WORDS[own[0]]}" if len(own) == 1 else "none"
        raise LoraFileError(
            f"{lora.path.name}: this LoRA is for {WORDS[lora.family]}, and base {base.name} is "
            f"{is_a}; give the base that it was trained on with --base"
        )


def _wanted(lora: ForeignLora) -> str:
    width = text_width(lora.modules)
    takes = f"; it takes text embeddings of width {width}" if width else ""
    return f"{takes}: it was made for another base, {WORDS[lora.family]}"


def _layers(base: BaseModel, lora: ForeignLora) -> tuple[list[Layer], list[str]]:
    """Return the layers that the LoRA changes, and the names that the base does not have."""
    places: dict[str, tuple[str, torch.nn.Module]] = {}
    for component, model in models(base).items():
        for kohya, dotted in layers(component, model).items():
            layer = model.get_submodule(dotted)
            # A layer of peft, if another adapter is attached: its own weight lies deeper.
            own = getattr(layer, "get_base_layer", lambda own=layer: own)()
            places[kohya] = base.kohya_name(component, dotted), own
    found: list[Layer] = []
    strangers: list[str] = []
    for name, module in lora.modules.items():
        if name not in places:
            strangers.append(name)
            continue
        found.append((*places[name], module))
    if len({name for name, *_ in found}) < len(found):
        raise LoraFileError(
            f"{lora.path.name} changes layers of the UNet twice: in the names of diffusers and in "
            "those of the original layout"
        )
    return found, strangers


def _weight(layer: torch.nn.Module) -> torch.Tensor:
    assert isinstance(layer.weight, torch.Tensor)
    return layer.weight


def _shaped(module: LoraModule, layer: torch.nn.Module) -> LoraModule:
    """Return a LoRA in the shapes of its layer.

    Trainers write a convolution of one pixel as a matrix and the other way round, as the bases of
    Stable Diffusion 1.x and 2.x have it.
    """
    if not isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
        raise LoraFileError(f"a LoRA of a {type(layer).__name__} is not read")
    weight = _weight(layer)
    down, up = module.down.flatten(1), module.up.flatten(1)
    matrix = weight.flatten(1)
    if (up.shape[0], down.shape[1]) != tuple(matrix.shape):
        raise LoraFileError(
            f"the file changes {(up.shape[0], down.shape[1])}, the base has {tuple(weight.shape)}"
        )
    ones = [1] * (weight.ndim - 2)
    return LoraModule(
        down.reshape(-1, *weight.shape[1:]).float(),
        up.reshape(up.shape[0], -1, *ones).float(),
        module.alpha,
    )


@contextmanager
def _naming(lora: ForeignLora, name: str) -> Iterator[None]:
    """Name the file and the layer in an error, and the base that the LoRA wants."""
    try:
        yield
    except LoraFileError as error:
        raise LoraFileError(f"{lora.path.name}: {name}: {error}{_wanted(lora)}") from error


def _updates(lora: ForeignLora, place: Layer, strength: float) -> dict[str, torch.Tensor]:
    name, layer, module = place
    with _naming(lora, name):
        return module.updates(layer, strength)


@contextmanager
def _added(lora: ForeignLora, added: list[Layer], strength: float) -> Iterator[None]:
    """Add the changes to the weights for a while; their copies lie in main memory until then."""
    before: list[tuple[torch.Tensor, torch.Tensor]] = []
    try:
        with torch.no_grad():
            for place in added:
                for name, values in _updates(lora, place, strength).items():
                    own = place[1].get_parameter(name)
                    before.append((own, own.detach().to("cpu", copy=True)))
                    own.copy_(values)
        yield
    finally:
        with torch.no_grad():
            for weight, copied in reversed(before):
                weight.copy_(copied)


def changes(base: BaseModel, lora: ForeignLora) -> Mapping[str, torch.Tensor]:
    """Return the float32 change of each layer's weight at strength 1, by kohya name.

    For measuring and tests: all of them are in memory at once.
    """
    beside, added = fitting(base, lora)
    plain = {name: module.update() for name, module in beside.modules.items()}
    others: dict[str, torch.Tensor] = {}
    for name, layer, module in added:
        updated = _updates(lora, (name, layer, module), 1.0)
        if "weight" in updated:
            others[name] = (updated["weight"] - _weight(layer).float()).flatten(1)
    return plain | others
