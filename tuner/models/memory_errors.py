"""Turn every out-of-memory error of Python and torch into one exception."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tuner.errors import OutOfMemoryError

_ONEDNN = ("could not create a primitive", "could not execute a primitive")
"""Messages of oneDNN, which multiplies and convolves on a CPU, if it finds no memory to work in.

For shapes that it does not support its message is longer: "could not create a primitive descriptor
for ...".
"""


@contextmanager
def naming_memory_errors() -> Iterator[None]:
    """Raise OutOfMemoryError for every out-of-memory error of Python and torch."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(str(error).partition("\n")[0] or "no memory left") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return True for the out-of-memory errors of Python, CUDA and torch's CPU kernels."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError | OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in text or text in _ONEDNN or "std::bad_alloc" in text
    )
