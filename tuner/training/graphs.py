"""CUDA graphs of a training step: its kernels are recorded once, and then started together.

A step of Stable Diffusion 1.5 has 5,400 kernels. A processor that starts them one by one takes
longer than a large GPU needs to run them: see benchmarks/results/gpu.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

Inputs = dict[str, torch.Tensor]
"""What a pass depends on beside weights: tensors on the device, by name."""

EAGER_PASSES = 2
"""Passes of a form before it is recorded: in the first ones libraries prepare what they keep."""

_Form = tuple[object, ...]


@dataclass
class _Recorded:
    """A graph with the tensors that it reads, which stay where they are."""

    graph: torch.cuda.CUDAGraph
    inputs: Inputs


@dataclass
class Graphs:
    """The recorded passes of a run, one for each form: what is computed, on inputs of which shapes.

    A pass may change only tensors that were there before it, such as gradients that it adds to.
    All share memory, because one runs at a time. It is given back before a pass that is not
    recorded, which needs as much. If a pass cannot be recorded, a warning says why, and from there
    on none is. With `enabled` false none ever is.
    """

    enabled: bool
    _recorded: dict[_Form, _Recorded] = field(default_factory=dict)
    _passes: dict[_Form, int] = field(default_factory=dict)

    def run(self, work: Callable[[Inputs], None], inputs: Inputs, name: str) -> None:
        """Compute `work(inputs)`, from a record once it was computed twice.

        `name` tells what is computed: work of the same name and shapes is the same.
        """
        if not self.enabled:
            work(inputs)
            return
        form = (name, *((key, value.shape) for key, value in inputs.items()))
        recorded = self._recorded.get(form)
        passes = self._passes.get(form, 0)
        if recorded is None and passes >= EAGER_PASSES:
            recorded = self._record(work, inputs, form)
        if recorded is None:
            self.forget()
            self._passes[form] = passes + 1
            work(inputs)
            return
        for key, value in inputs.items():
            recorded.inputs[key].copy_(value)
        recorded.graph.replay()

    def forget(self) -> None:
        """Give back the memory of recorded passes; they are recorded again when they are needed."""
        if self._recorded:
            torch.cuda.synchronize()  # none of them is running any more
            self._recorded.clear()

    def _record(
        self, work: Callable[[Inputs], None], inputs: Inputs, form: _Form
    ) -> _Recorded | None:
        """Return the recorded pass, which is not run yet; None if it cannot be recorded."""
        try:
            own = {key: value.clone() for key, value in inputs.items()}
            pool = next((each.graph.pool() for each in self._recorded.values()), None)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                work(own)
        except Exception as error:  # CUDA refuses what waits for the device, by errors of any kind
            self.enabled = False
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"training steps are slower, no CUDA graph could be made: {first}", stacklevel=1
            )
            return None
        self._recorded[form] = _Recorded(graph, own)
        return self._recorded[form]
