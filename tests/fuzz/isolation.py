"""One case of the fuzzer in a process of its own: with little time, bounded memory, no traces."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import resource
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

SECONDS = 5
EXTRA_BYTES = 2**30

Case = Callable[[Path, random.Random], str]
"""Writes a file into the folder, reads it with the tool, and returns one word: what became of it.

A finding is raised as an exception."""


class SilentlyWrong(AssertionError):
    """A file that was accepted and means something else, or an unclear message."""


def isolated(case: Case, folder: Path, seed: str) -> tuple[str, str]:
    """Run a case in a process of its own; return one word and, for a finding, its details."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiving)
        with contextlib.suppress(BaseException), os.fdopen(sending, "wb") as pipe:
            pickle.dump(_outcome(case, folder, seed), pipe)
        os._exit(0)
    os.close(sending)
    deadline = time.monotonic() + 12 * SECONDS  # the machine may be busy
    ended = status = 0
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.002)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(receiving, "rb") as pipe:
        written = pipe.read()
    if not ended or os.waitstatus_to_exitcode(status) == -signal.SIGXCPU:
        return "hang", f"more than {SECONDS} seconds"
    if not written:
        return "crash", f"the process ended with status {status}"
    word, details = pickle.loads(written)
    return word, details


def _outcome(case: Case, folder: Path, seed: str) -> tuple[str, str]:
    os.chdir(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _bound_process()
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # libraries in C print there
    try:
        word = case(folder, random.Random(seed))
    except BaseException as error:
        word = "wrong" if isinstance(error, SilentlyWrong) else type(error).__name__
        return word, "".join(traceback.format_exception(error, limit=-4))
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if more * 1024 > EXTRA_BYTES:
        return "memory", f"{more / 2**20:.1f} GiB more memory"
    return word, ""


def _bound_process() -> None:
    """Bound this process's time, and the memory that it maps, so that a runaway ends."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))  # a fork begins at 0
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 4 * EXTRA_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
