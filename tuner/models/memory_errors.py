"""Every way in which Python and torch say that memory is out, under one name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tuner.errors import OutOfMemoryError

_ONEDNN = ("could not create a primitive", "could not execute a primitive")
"""What oneDNN, which multiplies and convolves on a CPU, says where it finds no memory to work in.
Of shapes that it does not know it says more: "could not create a primitive descriptor for ..."."""


@contextmanager
def naming_memory_errors() -> Iterator[None]:
    """Raise OutOfMemoryError for every way in which Python and torch say that memory is out."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(str(error).partition("\n")[0] or "no memory left") from error


def is_out_of_memory(error: BaseException) -> bool:
    """True for the errors of Python, CUDA and torch's CPU kernels when memory is out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError | OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in text or text in _ONEDNN or "std::bad_alloc" in text
    )
