"""Recognise out-of-memory errors of Python and torch, and go on with a smaller batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from tuner.errors import OutOfMemoryError

_T = TypeVar("_T")

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


def halved_until_it_fits(work: Callable[[int], _T], batch: int) -> tuple[_T, int]:
    """Return what `work` gives for a `batch`, and that batch: it is halved when memory runs out.

    With a batch of one the error of `work` is raised, as every other error always is.
    """
    while True:
        try:
            return work(batch), batch
        except Exception as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
        batch //= 2  # Python has dropped the error here, and with it the tensors of its traceback
