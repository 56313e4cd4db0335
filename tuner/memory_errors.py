"""Every way in which Python and torch say that memory is out, under one name."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """True for the errors of Python, CUDA and torch's CPU allocator when memory is out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
