"""LoRA adapters on a frozen base: attach, detach, save, and load from a file.

No other module imports peft. Several adapters may be attached at once; the active ones take part in
the forward pass. A base without adapters has exactly its original layers.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.loha import layer as loha
from peft.tuners.lokr import layer as lokr
from peft.tuners.lora import Linear, LoraLayer

from tuner.models.base import BaseModel
from tuner.models.families.family import Component
from tuner.models.lora_file import (
    LoraFile,
    LoraFileError,
    LoraModule,
    layers,
    read_file,
    write_file,
)
from tuner.models.metadata import DORA_FOR
from tuner.space import TrainConfig

_TARGETS: Mapping[str, tuple[str, str]] = {
    "attention": (r"to_q|to_k|to_v|to_out\.0", "q_proj|k_proj|v_proj|out_proj"),
    "feed_forward": (r"ff\.net\.0\.proj|ff\.net\.2", "fc1|fc2"),
    "convolutions": (
        r"conv1|conv2|conv_shortcut|proj_in|proj_out|(?:down|up)samplers\.\d+\.conv",
        "",
    ),
}
"""Layers by the end of their dotted names: those of the UNet, and those of a text encoder.

The convolutions are those of the residual blocks and samplers, as kohya's `conv_dim`, and the
projections into and out of the transformers.
"""

hadamard, hadamard_tucker = loha.make_weight, loha.make_weight_cp
kronecker, tucker = lokr.make_kron, lokr.make_weight_cp
"""peft's products of the tensors of LoHa and LoKr."""


def attach(base: BaseModel, config: TrainConfig, name: str) -> list[dict[str, Any]]:
    """Add a new LoRA called `name` to the layers of `config.target_modules`; it alone is active.

    Returns the optimizer's parameter groups: the UNet's at `config.learning_rate` and those of the
    text encoders whose share of it, `config.shares`, is above 0. The output of the base is
    unchanged until the first step. The initial weights depend on `config.seed` alone.
    Raises ValueError for a name that is attached already.
    """
    if parameters(base, name):
        raise ValueError(f"an adapter {name!r} is attached already")
    groups = []
    for component, model in models(base).items():
        if config.shares[component] == 0:
            continue
        lora = LoraConfig(
            r=config.rank,
            lora_alpha=config.lora_alpha,  # type: ignore[arg-type]  # floats work and are saved
            target_modules=_targets(config.target_modules, component),
            lora_dropout=config.lora_dropout,
            use_dora=config.use_dora,
            use_rslora=config.use_rslora,
        )
        _inject(base, model, lora, name, seed=config.seed)
        rate = config.learning_rate * config.shares[component]
        groups.append({"params": _parameters(model, name), "lr": rate})
    activate(base, [name])
    return groups


def detach(base: BaseModel, name: str) -> None:
    """Remove the adapter `name`; nothing happens if there is none of that name."""
    for model in models(base).values():
        for dotted, layer in list(_lora_layers(model)):
            if name not in layer.lora_A:
                continue
            with warnings.catch_warnings():
                # peft warns that it picks another active adapter; the caller activates its own.
                warnings.simplefilter("ignore")
                layer.delete_adapter(name)
            if not layer.lora_A:
                parent, _, child = dotted.rpartition(".")
                setattr(model.get_submodule(parent), child, layer.get_base_layer())


def activate(base: BaseModel, names: Sequence[str]) -> None:
    """Make exactly the adapters `names` active and trainable; the others are inactive."""
    for model in models(base).values():
        for _, layer in _lora_layers(model):
            layer.set_adapter(list(names))


def active(base: BaseModel) -> tuple[str, ...]:
    """Return the names of the active adapters."""
    names: dict[str, None] = {}
    for model in models(base).values():
        for _, layer in _lora_layers(model):
            names |= dict.fromkeys(layer.active_adapters)
    return tuple(names)


def parameters(base: BaseModel, name: str) -> list[torch.nn.Parameter]:
    """Return all weights of the adapter `name`, float32."""
    return [part for model in models(base).values() for part in _parameters(model, name)]


def save(base: BaseModel, name: str, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the adapter `name` as a float16 file in kohya names, with its alpha, atomically."""
    modules = {
        base.kohya_name(component, dotted): LoraModule(
            layer.lora_A[name].weight,
            layer.lora_B[name].weight,
            float(layer.scaling[name]) * int(layer.r[name]),  # rsLoRA's scale is in it
            _magnitude(layer, name),
        )
        for component, model in models(base).items()
        for dotted, layer in _lora_layers(model)
        if name in layer.lora_A
    }
    write_file(path, LoraFile(modules, metadata))


@contextmanager
def loaded(base: BaseModel, path: Path | None) -> Iterator[None]:
    """Make the LoRA of the file `path` the only active one for a while; None: the base without any.

    Rank and alpha are the file's. The adapters that were active before are active again afterwards,
    even after an error. Raises LoraFileError for a file that is broken or does not fit the base.
    """
    with applied(base, None if path is None else read_file(path)):
        yield


@contextmanager
def applied(base: BaseModel, lora: LoraFile | None, strength: float = 1.0) -> Iterator[None]:
    """Make a LoRA in memory the only active one for a while, as `loaded` does for a file.

    `strength` multiplies what it adds to each layer; it must be 1 for a DoRA.
    """
    before = active(base)
    name = f"file{len(before)}"
    try:
        activate(base, [])
        if lora is not None:
            _attach_file(base, lora, name)
            for _, layer in (each for part in models(base).values() for each in _lora_layers(part)):
                if strength != 1 and name in layer.lora_A:
                    layer.set_scale(name, strength)
        yield
    finally:
        detach(base, name)
        activate(base, before)


def plain_layers(model: torch.nn.Module) -> list[Any]:
    """Return the linear layers that have one active LoRA, without dropout and DoRA."""
    return [layer for _, layer in _lora_layers(model) if _is_plain(layer)]


def targets(model: torch.nn.Module, component: Component, words: str) -> list[str]:
    """Return the dotted names of the layers that `words` name, in the form of `target_modules`."""
    pattern = re.compile(_targets(words, component))
    return [
        name
        for name, layer in model.named_modules()
        if pattern.fullmatch(name) and isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
    ]


def models(base: BaseModel) -> dict[Component, torch.nn.Module]:
    """Return the parts of the base that a LoRA can change."""
    return base.networks


def _targets(words: str, component: Component) -> str:
    """Return a pattern for the names of the layers that `words` (joined by +) select."""
    place = 0 if component == "unet" else 1
    parts = [part for word in words.split("+") if (part := _TARGETS[word][place])]
    return rf"(?:.*\.)?(?:{'|'.join(parts)})"


def _magnitude(layer: LoraLayer, name: str) -> torch.Tensor | None:
    """Return DoRA's lengths (out,) of a layer's adapter; None for a plain LoRA."""
    if name not in layer.lora_magnitude_vector:
        return None
    weight: torch.Tensor = layer.lora_magnitude_vector[name].weight
    return weight.flatten()


def _attach_file(base: BaseModel, lora: LoraFile, name: str) -> None:
    if program := lora.metadata.get(DORA_FOR):
        raise LoraFileError(f"the DoRA has scales for {program}; export it without --dora-for")
    fitting = 0
    for component, model in models(base).items():
        own = {
            dotted: lora.modules[kohya]
            for kohya, dotted in layers(component, model).items()
            if kohya in lora.modules
        }
        fitting += len(own)
        if own:
            _inject(base, model, _config_of(own), name, seed=0)
            _fill(model, own, name, base.dtype)
    if fitting != len(lora.modules):
        raise LoraFileError(
            f"only {fitting} of the LoRA's {len(lora.modules)} modules are in base {base.name}: "
            "it was made for another base"
        )
    activate(base, [name])


def _config_of(own: Mapping[str, LoraModule]) -> LoraConfig:
    first = next(iter(own.values()))
    with_dora = {module.magnitude is not None for module in own.values()}
    if len(with_dora) > 1:
        raise LoraFileError("some modules of the LoRA lack DoRA's magnitudes: give all or none")
    return LoraConfig(
        r=first.rank,
        lora_alpha=first.alpha,  # type: ignore[arg-type]  # floats work and are saved
        target_modules=list(own),
        use_dora=with_dora == {True},
        rank_pattern={name: m.rank for name, m in own.items() if m.rank != first.rank},
        alpha_pattern={name: m.alpha for name, m in own.items() if m.alpha != first.alpha},
    )


@torch.no_grad()
def _fill(
    model: torch.nn.Module, own: Mapping[str, LoraModule], name: str, dtype: torch.dtype
) -> None:
    for dotted, module in own.items():
        layer = model.get_submodule(dotted)
        assert isinstance(layer, LoraLayer)
        halves = [(layer.lora_A[name].weight, module.down), (layer.lora_B[name].weight, module.up)]
        if module.magnitude is not None:
            lengths = layer.lora_magnitude_vector[name].weight
            halves.append((lengths, module.magnitude.reshape(lengths.shape)))
        for target, source in halves:
            if target.shape != source.shape:
                raise LoraFileError(
                    f"{dotted}: the LoRA has {tuple(source.shape)}, the base takes "
                    f"{tuple(target.shape)}: it was made for another base"
                )
            target.copy_(source)
        # The base's precision needs no conversions. DoRA divides by lengths, which it would round.
        for target, _ in halves if module.magnitude is None else ():
            target.data = target.data.to(dtype)


def _inject(
    base: BaseModel, model: torch.nn.Module, config: LoraConfig, name: str, *, seed: int
) -> None:
    devices = [base.device] if base.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, name)
    # peft keeps its configuration on the model and would warn at the next adapter. It is removed,
    # because the layers have all that is needed.
    del model.peft_config
    for parameter in _parameters(model, name):
        parameter.data = parameter.data.float()
    for _, layer in _lora_layers(model):
        if name in layer.lora_dropout:
            layer.lora_dropout[name].train()  # the frozen model around it does not train


def _is_plain(layer: LoraLayer) -> bool:
    """Return True for a linear layer with one active LoRA, which has neither dropout nor DoRA."""
    names = layer.active_adapters
    if not isinstance(layer, Linear) or len(names) != 1 or names[0] not in layer.lora_A:
        return False
    dropout = layer.lora_dropout[names[0]]
    return isinstance(dropout, torch.nn.Identity) and names[0] not in layer.lora_variant


def _lora_layers(model: torch.nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def _parameters(model: torch.nn.Module, name: str) -> list[torch.nn.Parameter]:
    return [
        half[name].weight
        for _, layer in _lora_layers(model)
        for half in (layer.lora_A, layer.lora_B, layer.lora_magnitude_vector)
        if name in half
    ]
