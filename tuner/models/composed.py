"""Compute layers with a LoRA as one product: the LoRA is added to the weights first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tuner.models.adapter import plain_layers
from tuner.models.base import product_dtype


@dataclass(frozen=True)
class _Alike:
    """Layers of the same shape, rank and scale, with one active LoRA, called `adapter`."""

    layers: Sequence[Any]
    adapter: str
    scale: float

    @property
    def halves(self) -> list[list[Any]]:
        """The layers' parts that hold a weight of the LoRA: the first half's, and the second's."""
        return [
            [getattr(layer, half)[self.adapter] for layer in self.layers]
            for half in ("lora_A", "lora_B")
        ]


def stacked(model: torch.nn.Module, groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the active LoRA's weights of layers alike together, for an optimizer that trains them.

    Returns the optimizer's `groups` with one tensor (layers, ...) in place of those of the layers,
    which become views of it. A step within `composed` then has some ten gradients in place of more
    than a hundred, and none of them is copied.
    """
    together: dict[torch.Tensor, torch.nn.Parameter] = {}
    for group in _groups(plain_layers(model)):
        for parts in group.halves:
            weights = [part.weight for part in parts]
            stack = torch.nn.Parameter(torch.stack([weight.detach() for weight in weights]))
            together |= dict.fromkeys(weights, stack)
            for place, part in enumerate(parts):
                del part.weight  # a parameter, which another tensor cannot replace
                part.weight, part.stack = stack[place], stack
    return [
        group | {"params": list(dict.fromkeys(together.get(one, one) for one in group["params"]))}
        for group in groups
    ]


@contextmanager
def composed(model: torch.nn.Module) -> Iterator[None]:
    """Add the active LoRA to the weights of each linear layer of `model` first, for a while.

    A layer then is one product with W + s B A, and its backward pass one more for the change of
    that matrix, instead of many small ones; the sums of layers of the same shape are one product
    too. On a CPU a step with rank 16 takes an eighth less. Only plain LoRAs are composed; layers
    with dropout or DoRA, and convolutions, stay as they are. The result is the same but for
    rounding: the sum is made in float32 once for each call of `model`, and rounded to autocast's
    precision. The frozen weights of these layers are kept a second time.
    """
    groups = [(group, _frozen(group.layers)) for group in _groups(plain_layers(model))]

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # the sums are its inputs
    def add_up(*_: Any) -> None:
        for layer, weight in _sums(groups):
            layer.composed = weight

    hook = model.register_forward_pre_hook(add_up)
    layers = [layer for group, _ in groups for layer in group.layers]
    try:
        with computed_by(_forward, layers):
            yield
    finally:
        hook.remove()
        for layer in layers:
            vars(layer).pop("composed", None)  # set at the first call


@contextmanager
def computed_by(function: Callable[..., Any], layers: Iterable[Any]) -> Iterator[None]:
    """Call `function`, whose first argument is the layer, as `forward` of `layers` for a while."""
    changed = list(layers)
    for layer in changed:
        layer.forward = partial(function, layer)
    try:
        yield
    finally:
        for layer in changed:
            del layer.forward  # the class's own is there again


def side_by_side(layers: Sequence[Any], x: torch.Tensor) -> torch.Tensor | None:
    """Return the outputs of composed `layers` at `x`, made as one product: (..., all channels).

    None if one of the layers is not composed or has a bias.
    """
    if not all(hasattr(layer, "composed") for layer in layers):
        return None
    if any(layer.get_base_layer().bias is not None for layer in layers):
        return None
    return torch.nn.functional.linear(x, torch.cat([layer.composed for layer in layers]))


def _groups(layers: Sequence[Any]) -> list[_Alike]:
    alike = defaultdict(list)
    for layer in layers:
        (name,) = layer.active_adapters
        shape = layer.get_base_layer().weight.shape
        alike[name, shape, layer.r[name], layer.scaling[name]].append(layer)
    return [_Alike(own, name, scale) for (name, _, _, scale), own in alike.items()]


def _frozen(layers: Sequence[Any]) -> torch.Tensor:
    """Return the frozen weights (layers, out, in) of layers of the same shape, float32."""
    return torch.stack([layer.get_base_layer().weight.detach().float() for layer in layers])


def _sums(groups: Sequence[tuple[_Alike, torch.Tensor]]) -> Iterator[tuple[Any, torch.Tensor]]:
    """Yield each layer with its weight and LoRA added up, in the precision of products now."""
    for group, frozen in groups:
        half = product_dtype(frozen.device, torch.float32)
        # In bfloat16 a small step would be lost, and gradients diverge at high learning rates.
        with torch.autocast(frozen.device.type, enabled=False):
            down, up = (_together(parts) for parts in group.halves)
            whole = torch.baddbmm(frozen, up, down, alpha=group.scale).to(half)
        yield from zip(group.layers, whole.unbind(), strict=True)


def _together(parts: Sequence[Any]) -> torch.Tensor:
    """Return the weights of a LoRA's parts as one tensor (layers, ...), that of `stacked` if any.

    The layers of a stack are alike, so that all of them are among those of `parts`.
    """
    stack: torch.Tensor | None = getattr(parts[0], "stack", None)
    return torch.stack([part.weight for part in parts]) if stack is None else stack


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.linear(x, layer.composed, layer.get_base_layer().bias)
