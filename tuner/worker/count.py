"""How many workers a study has by itself: the rule of `--workers auto`."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

from tuner.errors import ConfigError
from tuner.text import byte_size, counted, show

AUTO = "auto"
"""The word of `--workers` for the rule of `auto_workers`."""

MOST_WORKERS = 64
"""Each needs a process, a base and judges of its own: nobody had use for more so far."""

JUDGE_BYTES = 3 * 2**30
"""Main memory of a judge process: Python, torch and MediaPipe take 1 GB, and ViT-L-14, the default
model for gender, 1.7 GB."""

_PICTURES_A_JOB = 20
"""Least pictures for another judge process of `tuner score`, which takes seconds to start."""

_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Machine:
    """What workers share: visible CUDA devices, CPU cores, and bytes of free main memory."""

    devices: int
    cores: int
    free_bytes: int


@dataclass(frozen=True)
class Workers:
    """A number of workers, and a line for people that says why it is this one."""

    count: int
    line: str


def worker_count(text: str) -> int | None:
    """Return the number of workers that `--workers` names; None for `auto`."""
    if text == AUTO:
        return None
    if not (text.isdecimal() and text.isascii() and 1 <= int(text) <= MOST_WORKERS):
        raise ConfigError(
            f"--workers {show(text)} is no number of workers; allowed: {AUTO}, or a whole number "
            f"from 1 to {MOST_WORKERS}"
        )
    return int(text)


def auto_workers(machine: Machine, needed_bytes: int, pieces: int) -> Workers:
    """Return the workers for `pieces` of work that are left; each needs `needed_bytes` of memory.

    A trial is a piece of work, and so is each LoRA of a confirmation.

    One for each CUDA device; without any, one for each core. On cores there are only as many as fit
    into the free memory, where as much as a worker needs is left to the study's own process. Never
    more than pieces, and at least one.
    """
    room = machine.free_bytes // max(1, needed_bytes) - 1
    full = (
        f"{byte_size(machine.free_bytes)} of memory are free, and each needs about "
        f"{byte_size(needed_bytes)}, the study's own process too"
    )
    units = machine.devices or machine.cores
    limits = [(units, _each(units, "GPU" if machine.devices else "core"))]
    limits += [] if machine.devices else [(max(1, room), full)]
    limits += [(max(1, pieces), _each(pieces, "piece of work that is left"))]
    limits += [(MOST_WORKERS, "the most")]
    count, reason = min(limits, key=lambda limit: limit[0])
    return Workers(count, f"{counted(count, 'worker')}, {reason}")


def _each(count: int, noun: str) -> str:
    return f"one for each {noun}" if count > 1 else f"for the only {noun}"


def planned_workers(chosen: int | None, needed_bytes: int, pieces: int) -> Workers:
    """Return `chosen` workers, or if it is None those of `auto_workers` on this machine."""
    if chosen is None:
        return auto_workers(read_machine(), needed_bytes, pieces)
    return Workers(chosen, f"{counted(chosen, 'worker')}, as chosen")


def judge_processes(cores: int, free: int, workers: int, on_gpu: bool = False) -> int:
    """Return the most judge processes of each of `workers` workers: one for each core left to it.

    Each worker has an equal part of the cores, one of which is its own, and of the `free` bytes of
    memory. 0 where a worker scores its samples itself: a single judge process would only take
    memory, except beside a worker that draws `on_gpu` meanwhile.
    """
    count = min(cores // workers - 1, free // workers // JUDGE_BYTES)
    return count if count >= (1 if on_gpu else 2) else 0


def auto_jobs(pictures: int) -> int:
    """Return how many processes judge so many pictures of a folder on this machine."""
    # One more core, as if for the process that only waits for the others.
    most = judge_processes(usable_cores() + 1, free_bytes(), workers=1)
    return min(most, pictures // _PICTURES_A_JOB)


def read_machine() -> Machine:
    """Read what this process may use of the machine; no network's library is loaded for it."""
    return Machine(_devices(), usable_cores(), free_bytes())


def visible_devices(listing: str, visible: str | None) -> int:
    """Return the number of CUDA devices of `nvidia-smi -L` that CUDA_VISIBLE_DEVICES leaves.

    CUDA reads `visible` (None: all) up to the first entry that is no device.
    """
    present = sum(line.startswith("GPU ") for line in listing.splitlines())
    if visible is None:
        return present
    count = 0
    for name in map(str.strip, visible.split(",")):
        known = name.startswith(("GPU-", "MIG-")) or (name.isdecimal() and int(name) < present)
        if not known:
            break
        count += 1
    return min(count, present)


@functools.cache  # nvidia-smi takes up to seconds
def _devices() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    command = shutil.which("nvidia-smi")
    if command is not None:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                [command, "-L"], capture_output=True, text=True, timeout=30, check=False
            )
            return visible_devices(done.stdout, visible)
    return visible_devices("GPU \n" * device_nodes(), visible)


def device_nodes(folder: Path = Path("/dev")) -> int:
    """Return the number of GPUs by their nodes on Linux, for containers without nvidia-smi.

    AMD's GPUs (kfd) and those of Windows (dxg) have one node for all, and count as one.
    """
    nodes = len(list(folder.glob("nvidia[0-9]*")))
    return nodes or int(any((folder / name).exists() for name in ("kfd", "dxg")))


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_bytes() -> int:
    """Return the free main memory: the machine's, or the rest of the container's, if it is less."""
    free = int(psutil.virtual_memory().available)
    for group in _groups():
        with contextlib.suppress(OSError, ValueError):  # there is no such limit
            most, used = (int((group.folder / name).read_text()) for name in group[1:])
            pages = dict(
                line.split() for line in (group.folder / "memory.stat").read_text().splitlines()
            )
            # Copies of files make room; version 1 has those of groups further down by themselves.
            used -= int(pages.get("total_inactive_file", pages.get("inactive_file", 0)))
            free = min(free, max(0, most - used))
    return free


def total_bytes(groups: Iterable[_Group] | None = None) -> int:
    """Return the main memory: the machine's, or the limit of the container or job, if it is less.

    `groups` are the control groups that limit it; None: those of this process.
    """
    total = int(psutil.virtual_memory().total)
    for group in _groups() if groups is None else groups:
        with contextlib.suppress(OSError, ValueError):  # there is no such limit
            total = min(total, int((group.folder / group.most).read_text()))
    return total


class _Group(NamedTuple):
    """A control group of Linux: its folder, and its files with the limit and the use of memory."""

    folder: Path
    most: str
    used: str


def _groups(root: Path = _CGROUP, own: Path = _OWN_CGROUP) -> Iterator[_Group]:
    """Yield the control groups that limit this process, also those of versions 1 and 2 together.

    A container sees its own group as the first of all; a job of Slurm is in one further down.
    """
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = own.read_text().splitlines()
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        top = root / kinds
        names = ("memory.max", "memory.current")
        if kinds:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        folder = top / path.lstrip("/")
        for each in (folder, *folder.parents):
            if each.is_relative_to(top):
                yield _Group(each, *names)
