"""Check the settings of a study against its base's family and this machine's memory."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
from dataclasses import dataclass

from tuner.models.stored.families import UnitCost
from tuner.models.stored.known import known_layout
from tuner.space import StudyConfig
from tuner.space.parameters import Value
from tuner.study.checks.needed_memory import fits, needed_bytes, smaller, trained_weights
from tuner.text import byte_size, show
from tuner.worker.count import total_bytes


@dataclass(frozen=True)
class Device:
    """Where trials are computed: its memory in bytes, and whether it is a GPU."""

    memory: int
    is_gpu: bool


def setting_problems(config: StudyConfig, cost: UnitCost, device: Device | None) -> list[str]:
    """Return a line for each setting that this base has not, or whose memory is not there."""
    problems = []
    family = known_layout(config.base)
    second = [value for value in config.tried("text_encoder_2_ratio") if value is not None]
    if second and family is not None and "text_encoder_2" not in family.parts:
        problems.append(
            f"train.text_encoder_2_ratio: found {show(second[0])}, allowed: null, as base "
            f"{config.base} ({family.name}) has one text encoder; remove it"
        )
    needed = needed_bytes(config, cost, checkpointed=True)
    if "dreambooth" in config.tried("method") and device is not None and needed > device.memory:
        place = "the GPU" if device.is_gpu else "this machine"
        problems.append(
            f"train.method: dreambooth trains {trained_weights(config, cost) / 1e9:.1f} billion "
            f"weights and needs about {byte_size(needed)} of memory, {place} has "
            f"{byte_size(device.memory)}; use method: lora, or a larger GPU"
        )
    return problems


def memory_line(config: StudyConfig, cost: UnitCost, is_small: bool) -> str:
    """Return the line about the memory of one worker."""
    needed = needed_bytes(config, cost)
    if is_small:
        return f"memory: about {byte_size(needed)} for each worker"
    line = f"memory: about {byte_size(needed)} of video memory for each worker"
    less = needed_bytes(config, cost, checkpointed=True)
    if less < needed:
        line += f", {byte_size(less)} with gradient checkpointing, which is used where it is short"
    return line


def short_lines(config: StudyConfig, cost: UnitCost, device: Device | None) -> list[str]:
    """Return a line with the settings that make a study fit this machine's GPU, if it does not."""
    if device is None or not device.is_gpu or "dreambooth" in config.tried("method"):
        return []
    changes, needed = smaller(config, cost, device.memory)
    if fits(needed, device.memory) and not changes:
        return []
    settings = " ".join(f"--set {key}={_written(value)}" for key, value in changes.items())
    have = byte_size(device.memory)
    if fits(needed, device.memory):
        return [f"memory is short, the GPU has {have}: about {byte_size(needed)} with {settings}"]
    even = f", even with {settings}" if settings else ""
    return [
        f"memory is short, the GPU has {have}: about {byte_size(needed)} are needed{even}; use a "
        "larger GPU, or a smaller rank"
    ]


def _written(value: Value) -> str:
    return "null" if value is None else str(value).lower() if value is True else str(value)


@functools.cache  # nvidia-smi takes up to seconds
def this_device() -> Device | None:
    """Return this machine's smallest GPU, or without one its main memory; None if unknown."""
    command = shutil.which("nvidia-smi")
    if command is not None:
        query = [command, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
            memory = smallest_gpu(done.stdout, os.environ.get("CUDA_VISIBLE_DEVICES"))
            return None if memory is None else Device(memory, is_gpu=True)
    return Device(total_bytes(), is_gpu=False)


def smallest_gpu(listing: str, visible: str | None) -> int | None:
    """Return the bytes of the smallest visible GPU, by nvidia-smi's list of MiB; None without one.

    `visible` is CUDA_VISIBLE_DEVICES; names in it that are no numbers leave all GPUs.
    """
    sizes = [int(line) for line in listing.split() if line.isdecimal()]
    names = [] if visible is None else [name.strip() for name in visible.split(",")]
    chosen = [sizes[int(name)] for name in names if name.isdecimal() and int(name) < len(sizes)]
    return min(chosen or sizes, default=0) * 2**20 or None
