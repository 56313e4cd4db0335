"""The update of one layer by each method: LoRA, LoHa, LoKr, whole differences, each also as DoRA.

The products are peft's. A strength is applied as A1111 and ComfyUI do: it multiplies the change of
the weight, also that of a DoRA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch

from tuner.models.adapter import hadamard, hadamard_tucker, kronecker, tucker
from tuner.models.lora_file import LoraFileError, LoraModule
from tuner.models.memory_errors import is_out_of_memory

Method = Literal["lora", "loha", "lokr", "full"]

NEEDED: Mapping[Method, tuple[frozenset[str], ...]] = {
    "lora": (frozenset({"down", "up"}), frozenset({"down", "mid", "up"})),
    "loha": (
        frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),
        frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"}),
    ),
    "lokr": tuple(
        frozenset(first | second)
        for first in ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"})
        for second in (
            {"lokr_w2"},
            {"lokr_w2_a", "lokr_w2_b"},
            {"lokr_w2_a", "lokr_w2_b", "lokr_t2"},
        )
    ),
    "full": (frozenset({"diff"}), frozenset({"diff", "diff_b"}), frozenset({"diff_b"})),
}
"""The tensors of a layer by method, each way in which trainers write them."""


@dataclass(frozen=True)
class Module:
    """The tensors of one layer, by the names of NEEDED.

    `alpha` None: the scale is 1. `magnitude` is DoRA's as stored: (out, 1, ...) or (out,) for the
    lengths of the outputs, (1, in, ...) for those of the inputs. `ratio` is the scale of a module
    without a rank, as peft has it.
    """

    method: Method
    parts: Mapping[str, torch.Tensor]
    alpha: float | None = None
    magnitude: torch.Tensor | None = None
    ratio: float | None = None

    @property
    def rank(self) -> int | None:
        """The rank of the decomposition; None for one that has none."""
        match self.method:
            case "lora":
                return int(self.parts["down"].shape[0])
            case "loha":
                return int(self.parts["hada_w1_b"].shape[0])
            case "lokr":
                for name, axis in (("lokr_w1_b", 0), ("lokr_w2_b", 0)):
                    if name in self.parts:
                        return int(self.parts[name].shape[axis])
        return None

    @property
    def inputs(self) -> int | None:
        """The number of inputs of the layer; None where the tensors do not tell."""
        try:
            match self.method:
                case "lora":
                    return int(self.parts["down"].shape[1])
                case "loha":
                    return int(self.parts["hada_w1_b"].shape[1])
                case "lokr":
                    first = self.parts.get("lokr_w1", self.parts.get("lokr_w1_b"))
                    second = self.parts.get("lokr_w2", self.parts.get("lokr_w2_b"))
                    assert first is not None
                    assert second is not None
                    return int(first.shape[1] * second.shape[1])
                case "full" if "diff" in self.parts:
                    return int(self.parts["diff"].shape[1])
        except IndexError:  # a broken file, of which is told elsewhere
            pass
        return None

    @property
    def scale(self) -> float:
        """Alpha divided by the rank."""
        if self.rank is None or self.alpha is None:
            return 1.0 if self.ratio is None else self.ratio
        return self.alpha / self.rank

    def plain(self) -> LoraModule | None:
        """Return the module as a LoRA without magnitudes, the middle convolution multiplied in.

        None for a method that is none.
        """
        if self.method != "lora" or self.magnitude is not None:
            return None
        down, up = self.parts["down"], self.parts["up"]
        if (mid := self.parts.get("mid")) is not None:
            down = torch.einsum("mn...,ni->mi...", mid.float(), down.float().flatten(1))
            up = up.reshape(*up.shape[:2], *[1] * (mid.ndim - 2))
        alpha = float(down.shape[0]) if self.alpha is None else self.alpha
        return LoraModule(down, up, alpha)

    def change(self) -> torch.Tensor:
        """Return what is added to the weight, without magnitudes, as a float32 matrix (out, ...).

        Raises LoraFileError for tensors whose shapes do not fit each other.
        """
        try:
            change = self._change()
            return change.flatten(1) if change.ndim > 1 else change
        except (RuntimeError, ValueError, IndexError) as error:
            if is_out_of_memory(error):
                raise
            shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in self.parts.items())
            raise LoraFileError(f"tensors do not fit each other: {shapes}") from error

    def _change(self) -> torch.Tensor:
        if (whole := self.parts.get("diff")) is not None:
            return whole.float()
        parts = {name: part.float() for name, part in self.parts.items()}
        if self.method == "loha":
            return _hadamard(parts, self.scale)
        if self.method == "lokr":
            return _kronecker(parts, self.scale)
        without = Module("lora", self.parts, self.alpha).plain()
        assert without is not None
        return without.update()

    def updates(self, layer: torch.nn.Module, strength: float) -> dict[str, torch.Tensor]:
        """Return the updated weight and bias of `layer`, those that change, in float32.

        Raises LoraFileError for a change or a magnitude of another shape.
        """
        updated: dict[str, torch.Tensor] = {}
        if self.parts.keys() - {"diff_b"}:
            updated["weight"] = self._updated(_parameter(layer, "weight"), strength)
        if (bias := self.parts.get("diff_b")) is not None:
            before = _parameter(layer, "bias")
            if bias.numel() != before.numel():
                raise LoraFileError(
                    f"the file changes a bias of {bias.numel()}, the base has {before.numel()}"
                )
            change = bias.float().to(before.device).reshape(before.shape)
            updated["bias"] = before.float() + strength * change
        return updated

    def _updated(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        near = {name: part.to(weight.device) for name, part in self.parts.items()}
        change = replace(self, parts=near).change()  # products are fast where the weight is
        if change.shape[0] != weight.shape[0] or change.numel() != weight.numel():
            raise LoraFileError(
                f"the file changes {tuple(change.shape)}, the base has {tuple(weight.shape)}"
            )
        before = weight.detach().float()
        after = before + change.reshape(weight.shape)
        if self.magnitude is not None:
            after = after * self._lengthening(after)
        return before + strength * (after - before)

    def _lengthening(self, whole: torch.Tensor) -> torch.Tensor:
        """Return the magnitudes divided by the lengths of `whole`, in a shape to multiply with."""
        magnitude = self.magnitude
        assert magnitude is not None
        axis = self.magnitude_axis(whole.shape)
        others = [each for each in range(whole.ndim) if each != axis]
        lengths = whole.square().sum(others, keepdim=True).sqrt()
        own = magnitude.float().to(whole.device).reshape(lengths.shape)
        return own / (lengths + torch.finfo(torch.float32).eps)

    def magnitude_axis(self, shape: tuple[int, ...]) -> int:
        """Return the axis of the weight along which the magnitudes are: 0 outputs, 1 inputs.

        LyCORIS and peft train lengths of the outputs; OneTrainer, and LyCORIS before 3, those of
        the inputs. Raises LoraFileError for magnitudes of neither.
        """
        assert self.magnitude is not None
        if len(shape) < 2:
            raise LoraFileError("DoRA's magnitudes are for matrices and convolutions only")
        own = tuple(self.magnitude.shape)
        inputs = len(own) >= 2 and own[0] == 1 and own[1] == shape[1]
        # peft writes the outputs of a convolution as (1, out, 1, 1); two lengths that are the same
        # are told apart by the name of the tensor when the file is read.
        if own[0] == shape[0] and self.magnitude.numel() == shape[0]:
            return 0
        if inputs and self.magnitude.numel() == shape[1]:
            return 1
        raise LoraFileError(
            f"DoRA's magnitudes {own} are neither one for each output nor for each input of a "
            f"layer of {tuple(shape)}"
        )


def _parameter(layer: torch.nn.Module, name: str) -> torch.Tensor:
    parameter = getattr(layer, name, None)
    if not isinstance(parameter, torch.Tensor):
        raise LoraFileError(f"the base has no {name} there")
    return parameter


def _hadamard(parts: Mapping[str, torch.Tensor], scale: float) -> torch.Tensor:
    """Return the update of a LoHa, with or without the cores of convolutions."""
    factor = torch.tensor(scale)
    names = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    first_up, first_down, second_up, second_down = (parts[name] for name in names)
    product: torch.Tensor
    if "hada_t1" not in parts:
        product = hadamard(first_up, first_down, second_up, second_down, factor)
    else:
        first, second = parts["hada_t1"], parts["hada_t2"]
        product = hadamard_tucker(
            first, first_up, first_down, second, second_up, second_down, factor
        )
    return product


def _kronecker(parts: Mapping[str, torch.Tensor], scale: float) -> torch.Tensor:
    """Return the update of a LoKr, each factor whole or as a product."""
    first = parts.get("lokr_w1")
    first = parts["lokr_w1_a"] @ parts["lokr_w1_b"] if first is None else first
    second = parts.get("lokr_w2")
    if second is None:
        low, high = parts["lokr_w2_a"], parts["lokr_w2_b"]
        if (core := parts.get("lokr_t2")) is not None:
            second = tucker(core, low, high)
        else:
            second = (low @ high.flatten(1)).reshape(-1, *high.shape[1:])
    product: torch.Tensor = kronecker(first, second, scale)
    return product
