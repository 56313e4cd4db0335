"""The compiled UNet: torch's compiler for a while, and a way on without it where it fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch._functorch.config as autograd_config

from tuner.models.base import BaseModel
from tuner.models.memory_errors import is_out_of_memory


@contextmanager
def compiled(base: BaseModel) -> Iterator[None]:
    """Run the base's UNet compiled within the context, if `base.compiles`; else do nothing.

    What is attached to the UNet may change between two contexts: a form that was compiled before is
    found again, another one is compiled at its first call, which takes a minute or more for Stable
    Diffusion. After 8 of them torch runs others uncompiled (`recompile_limit`). If the compiler
    fails, a warning says why, `base.compiles` becomes false, and the same call is made without it.
    """
    if not base.compiles:
        yield
        return
    unet: Any = base.pipeline.unet
    if base.compiled_unet is None:
        base.compiled_unet = _guarded(base, unet)
    # The attribute that `Module.compile` sets, of which no copy is made with the module.
    unet._compiled_call_impl = base.compiled_unet
    try:
        yield
    finally:
        unet._compiled_call_impl = None


def compile_unet(unet: Any) -> None:
    """Make `unet` run compiled from its next call on.

    On a CPU each shape is compiled for itself and convolutions keep their layout. By torch's own
    settings the second shape is compiled as a form for all, and weights are put into channels_last,
    both of which take longer there (docs/performance.md).
    """
    if unet.device.type == "cpu":
        unet.compile(dynamic=False, options={"layout_optimization": False})
    else:
        unet.compile()


def _guarded(base: BaseModel, unet: Any) -> Callable[..., Any]:
    compile_unet(unet)
    fast = unet._compiled_call_impl

    def call(*inputs: Any, **named: Any) -> Any:
        if base.compiles:
            try:
                # Otherwise a backward pass that does not compile fails only when it is run.
                with autograd_config.patch(force_non_lazy_backward_lowering=True):
                    return fast(*inputs, **named)
            except Exception as error:  # the compiler calls other programs, whose errors vary
                if is_out_of_memory(error):
                    raise
                base.compiles = False
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                warnings.warn(f"the UNet is not compiled from here on: {first}", stacklevel=1)
        return unet._call_impl(*inputs, **named)

    return call
