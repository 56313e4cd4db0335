"""A worker's share of a study, and its part of the machine that it runs on."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Settings of glibc's `mallopt`."""

_KEPT_BYTES, _LARGEST_KEPT = 512 * 2**20, 32 * 2**20


@dataclass(frozen=True)
class Part:
    """A worker's part of a machine: it is number `place`, counted from 0, of `among` there."""

    place: int = 0
    among: int = 1


@dataclass(frozen=True)
class Share:
    """A worker's share of a study: it is number `place`, counted from 0, of `among` workers.

    `part` is its part of its machine; None: all workers of the study are on one machine.
    """

    place: int = 0
    among: int = 1
    part: Part | None = None

    @property
    def here(self) -> Part:
        """The worker's part of its machine."""
        return self.part or Part(self.place, self.among)


def keep_to(part: Part) -> None:
    """Use one of several devices; without a device, use an equal share of the CPU's cores."""
    import torch

    count = torch.cuda.device_count()  # a query of the driver: no device is opened yet
    if count > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
        os.environ["CUDA_VISIBLE_DEVICES"] = device_of(part, visible)
    elif not count and part.among > 1:
        import cv2

        threads = max(1, torch.get_num_threads() // part.among)
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)


def keep_freed_memory() -> None:
    """Let this process keep up to 512 MiB of freed memory for what it allocates next.

    glibc returns the activations of each step to the system, which then has to clear thousands of
    pages again: that took a fifteenth of a step. Does nothing with another C library.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)  # what glibc itself rises to, but no further


def device_of(part: Part, visible: str) -> str:
    """Return a worker's device from CUDA's comma-separated list `visible`.

    If there are more workers than devices, several workers share one.
    """
    devices = [device.strip() for device in visible.split(",")]
    return devices[part.place % len(devices)]
