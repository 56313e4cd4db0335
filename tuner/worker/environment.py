"""The environment variables that libraries read when they are imported or a process starts."""

from __future__ import annotations

import os

_VARIABLES = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "YOLO_AUTOINSTALL": "false",
    "ULTRALYTICS_SAFE_LOAD": "1",
    "GLOG_minloglevel": "2",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TOKENIZERS_PARALLELISM": "false",
    # OpenMP threads that wait in a busy loop would take the cores from all other threads.
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc asks Linux for memory in pages of 2 MiB. It reads this when a process starts, so it acts
    # in the workers. `GLIBC_TUNABLES= python benchmarks/step.py` measures without.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def set_environment() -> None:
    """Set the libraries' variables for this process and those that it starts.

    Values that the user has set are kept, an empty one too.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
