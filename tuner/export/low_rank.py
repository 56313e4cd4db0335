"""Extract a LoRA from whole weights: the part of their change that a low rank can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from tuner.models import BaseModel, adapter
from tuner.models.dreambooth import WeightsError
from tuner.models.lora_file import LoraFile, LoraModule, padded

_LAYERS = "attention+feed_forward+convolutions"
_OVERSAMPLING, _ITERATIONS = 16, 4
"""Oversampling and power iterations of the random projection (Halko et al. 2011, section 4), which
is used for speed on SD1.5's layers."""

Change = tuple[str, torch.Tensor]
"""The name in LoRA files and the change (out, in, ...) of the weight of one layer."""


def changes(base: BaseModel, weights: Path) -> Iterator[Change]:
    """Yield the change from the base to the trained `weights` of each layer that a LoRA can change.

    One layer is in memory at a time. Raises WeightsError for a file that is broken or of another
    base.
    """
    try:
        with safe_open(weights, framework="pt") as opened:
            names = set(opened.keys())
            for component, model in adapter.models(base).items():
                for name in adapter.targets(model, component, _LAYERS):
                    if (key := f"{component}.{name}.weight") not in names:
                        continue
                    before = model.get_submodule(name).weight
                    assert isinstance(before, torch.Tensor)
                    after = opened.get_tensor(key)
                    if after.shape != before.shape:
                        raise WeightsError(
                            f"{weights.name}: {key} has the shape {tuple(after.shape)}, base "
                            f"{base.name} has {tuple(before.shape)}: it was trained on another base"
                        )
                    change = after.float() - before.detach().float().cpu()
                    yield base.kohya_name(component, name), change
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{weights} is no whole file of trained weights: {error}") from error


def extracted(
    changed: Iterable[Change], rank: int, metadata: Mapping[str, str]
) -> tuple[LoraFile, float]:
    """Return the LoRA of `rank` that is nearest to the changes.

    Each layer's change is cut to its largest singular values (Eckart & Young 1936; as kohya's
    `extract_lora_from_models.py`); layers that did not change are left out. The second value is the
    share of the squared change of these layers that the LoRA holds, in [0, 1]; NaN if nothing
    changed. Norms and biases are not part of a LoRA.
    """
    modules: dict[str, LoraModule] = {}
    held, whole = 0.0, 0.0
    for name, change in changed:
        if not change.any():
            continue
        up, down = _halves(change.flatten(1), min(rank, *change.flatten(1).shape))
        whole += float(change.square().sum())
        held += float((up @ down).square().sum())
        # Small layers are padded: diffusers confuses alphas where modules have several ranks.
        down, up = padded(down, 0, rank), padded(up, 1, rank)
        column = (*up.shape, *[1] * (change.ndim - 2))
        modules[name] = LoraModule(
            down.reshape(rank, *change.shape[1:]), up.reshape(column), float(rank)
        )
    return LoraFile(modules, metadata), held / whole if whole else float("nan")


def _halves(change: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest matrix of `rank`: up (out, rank) and down (rank, in), evenly weighted."""
    if min(change.shape) <= 2 * (rank + _OVERSAMPLING):
        left, sizes, right = torch.linalg.svd(change, full_matrices=False)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            left, sizes, turned = torch.svd_lowrank(change, rank + _OVERSAMPLING, _ITERATIONS)
        right = turned.T
    root = sizes[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]
