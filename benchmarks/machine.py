"""The machine that a benchmark ran on, and its result as a JSON file."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from tuner.storage.files import write_text

RESULTS = Path(__file__).parent / "results"

PACKAGES = (
    "diffusers",
    "peft",
    "transformers",
    "optuna",
    "mediapipe",
    "nudenet",
    "ultralytics",
    "open_clip_torch",
)
"""Packages whose versions a result names; those that a machine lacks are left out."""


def machine() -> dict[str, object]:
    """Return the machine's processor, cores and GPU (None: without), and the versions in use.

    Cores are those that this process may use. Versions are of Python and of PACKAGES.
    """
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {"cpu": _cpu(), "cores": _cores(), "gpu": gpu, **versions}


def write_result(name: str, data: Mapping[str, object]) -> None:
    """Write `data` to benchmarks/results/NAME.json, keys sorted, with `machine` and `date` (UTC).

    `machine` has the versions too.
    """
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    whole = {**data, "machine": machine(), "date": today}
    write_text(RESULTS / f"{name}.json", json.dumps(whole, indent=2, sort_keys=True) + "\n")


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
