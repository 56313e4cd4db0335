"""The update of one layer by each method: LoRA, LoHa, LoKr, whole differences, with or without DoRA.

The products are peft's. A strength is applied as A1111, ComfyUI and LyCORIS do: it multiplies the
change of the weight, also that of a DoRA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from tuner.models.adapter import hadamard, kronecker
from tuner.models.lora_file import LoraFileError, LoraModule

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
    "full": (frozenset({"diff"}),),
}
"""The tensors of a layer by method, each way in which trainers write them."""


@dataclass(frozen=True)
class Module:
    """The tensors of one layer, by the names of NEEDED.

    `alpha` None: the scale is 1. `magnitude` is DoRA's as stored: (out, 1, ...) or (out,) for the
    lengths of the outputs, (1, in, ...) for those of the inputs.
    """

    method: Method
    parts: Mapping[str, torch.Tensor]
    alpha: float | None = None
    magnitude: torch.Tensor | None = None

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
    def scale(self) -> float:
        """Alpha divided by the rank."""
        if self.rank is None or self.alpha is None:
            return 1.0
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
            return self._change().flatten(1)
        except (RuntimeError, ValueError, IndexError) as error:
            shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in self.parts.items())
            raise LoraFileError(f"tensors do not fit each other: {shapes}") from error

    def _change(self) -> torch.Tensor:
        if (whole := self.parts.get("diff")) is not None:
            return whole.float()
        parts = {name: part.float() for name, part in self.parts.items()}
        if self.method == "loha":
            return hadamard(parts, self.scale)
        if self.method == "lokr":
            return kronecker(parts, self.scale)
        without = Module("lora", self.parts, self.alpha).plain()
        assert without is not None
        return without.update()

    def updated(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        """Return the updated `weight` (out, in, ...) in float32 and in its shape.

        Raises LoraFileError for a change or a magnitude of another shape.
        """
        change = self.change().to(weight.device)
        if change.shape[0] != weight.shape[0] or change.numel() != weight.numel():
            raise LoraFileError(
                f"the file changes {tuple(change.shape)}, the base has {tuple(weight.shape)}"
            )
        before = weight.float()
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
