"""DoRA in other programs: what each makes of a DoRA file, and the scales that ComfyUI needs.

A DoRA multiplies each row of the updated weight V = W + alpha / rank * up @ down by its magnitude
divided by the row's length |V|. Programs read the magnitudes (`dora_scale`) and divide by other
lengths. As their public code computes:

- LyCORIS, and diffusers for a file in its own names: the rows of V;
- ComfyUI (`weight_adapter/base.py`) and Forge (`backend/patcher/lora.py`): the rows of W;
- A1111 (`extensions-builtin/Lora/network.py`): the columns of V;
- kohya's trainer (`networks/lora.py`): drops the magnitudes, so that V itself is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch

from tuner.models import BaseModel
from tuner.models.adapter import models
from tuner.models.lora_file import LoraFile, LoraModule, layers
from tuner.models.metadata import base_name

Updated = Callable[[LoraModule, torch.Tensor], torch.Tensor]
"""The updated weight of a layer as a float32 matrix, from its module and its weight."""


def is_dora(lora: LoraFile) -> bool:
    """Return True if the LoRA has the magnitudes of DoRA."""
    return any(module.magnitude is not None for module in lora.modules.values())


def for_comfyui(lora: LoraFile, base: BaseModel) -> LoraFile:
    """Return the DoRA with the scales with which ComfyUI and Forge compute it as it was trained.

    They contain the lengths of the base's weights, so they hold for this base alone.
    """
    weights = dict(_weights(lora, base))
    modules = {name: _scaled(module, weights[name]) for name, module in lora.modules.items()}
    return replace(lora, modules=modules)


def in_comfyui(module: LoraModule, weight: torch.Tensor) -> torch.Tensor:
    """Return the updated weight that ComfyUI and Forge compute."""
    return _whole(module, weight) * (_scale(module, weight) / _lengths(_matrix(weight)))


def differences(lora: LoraFile, base: BaseModel) -> dict[str, float]:
    """Return for each program how far its weights are from those that were scored.

    The values are shares of the DoRA's own change: the length of the difference of all weights,
    divided by the length of the change.
    """
    programs: Mapping[str, Updated] = {
        "ComfyUI and Forge": in_comfyui,
        "A1111": _in_a1111,
        "kohya's trainer": _whole,
    }
    apart, change = dict.fromkeys(programs, 0.0), 0.0
    for name, weight in _weights(lora, base):
        module = lora.modules[name]
        scored = module.updated(weight)
        change += float((scored - _matrix(weight)).square().sum())
        for program, updated in programs.items():
            apart[program] += float((updated(module, weight) - scored).square().sum())
    return {program: (square / change) ** 0.5 for program, square in apart.items() if change}


def notes(lora: LoraFile, base: BaseModel, dora_for: str | None) -> tuple[str, ...]:
    """Return what other programs make of a DoRA in kohya's names, a line each."""
    if dora_for is not None:
        return (
            f"scales for ComfyUI and Forge on the base {base_name(base)} alone, at strength 1 and "
            "without another LoRA; LyCORIS, A1111, diffusers and kohya's trainer draw something "
            "else",
        )
    shares = ", ".join(f"{name} {share:.2f}" for name, share in differences(lora, base).items())
    return (
        "a DoRA, which programs compute differently; distance to the weights that were scored, as "
        f"a share of the DoRA's change: {shares} and diffusers (they drop the scales); LyCORIS 0",
        "--dora-for comfyui writes scales that are right in ComfyUI and Forge, --format diffusers "
        "a file that is right in diffusers",
    )


def _weights(lora: LoraFile, base: BaseModel) -> Iterator[tuple[str, torch.Tensor]]:
    for component, model in models(base).items():
        for name, dotted in layers(component, model).items():
            if name in lora.modules:
                weight = model.get_submodule(dotted).weight
                assert isinstance(weight, torch.Tensor)
                yield name, weight.detach()


def _scaled(module: LoraModule, weight: torch.Tensor) -> LoraModule:
    ratio = _lengths(_matrix(weight)) / _lengths(_whole(module, weight))
    return replace(module, magnitude=(_scale(module, weight) * ratio).flatten())


def _in_a1111(module: LoraModule, weight: torch.Tensor) -> torch.Tensor:
    """Return the updated weight that A1111 computes: divided by the lengths along the inputs."""
    whole = _whole(module, weight).reshape(weight.shape)
    others = [axis for axis in range(whole.ndim) if axis != 1]
    lengths = whole.square().sum(dim=others, keepdim=True).sqrt()
    return (whole / lengths).flatten(1) * _scale(module, weight)


def _whole(module: LoraModule, weight: torch.Tensor) -> torch.Tensor:
    """Return W + alpha / rank * up @ down, without the magnitudes."""
    return replace(module, magnitude=None).updated(weight)


def _scale(module: LoraModule, weight: torch.Tensor) -> torch.Tensor:
    assert module.magnitude is not None
    return module.magnitude.float().to(weight.device).flatten()[:, None]


def _matrix(weight: torch.Tensor) -> torch.Tensor:
    return weight.float().flatten(1)


def _lengths(matrix: torch.Tensor) -> torch.Tensor:
    """Return the length of each row, never 0: ComfyUI and LyCORIS add the same small number."""
    lengths: torch.Tensor = matrix.norm(dim=1, keepdim=True) + torch.finfo(torch.float32).eps
    return lengths
