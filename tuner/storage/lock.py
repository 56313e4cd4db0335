"""Lock of a study, which one process runs at a time, and the owner of a running trial."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypedDict

import psutil  # type: ignore[import-untyped]

from tuner.errors import TunerError
from tuner.storage.sqlite import no_locks

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY)
_SAME_START = 2.0
"""Largest difference in seconds between two readings of one process's start time."""


class StudyBusyError(TunerError):
    """The study is being run by another process."""


class Owner(TypedDict):
    """Identity of a process, which a later process with the same number does not share."""

    host: str
    boot: str
    pid: int
    started: float


def this_process() -> Owner:
    """Return the identity of this process, which is stored with the trials that it begins."""
    return _process(os.getpid())


@functools.cache
def _process(pid: int) -> Owner:
    return Owner(
        host=socket.gethostname(),
        boot=_boot(),
        pid=pid,
        started=float(psutil.Process(pid).create_time()),
    )


def lives(owner: Owner) -> bool:
    """Return True if `owner` is known to run on this machine.

    A process of another host cannot be checked and counts as ended: the caller holds the study's
    lock.
    """
    if owner["host"] != socket.gethostname() or owner["boot"] != _boot():
        return False
    try:
        started = float(psutil.Process(owner["pid"]).create_time())
    except psutil.Error:
        return False
    return abs(started - owner["started"]) < _SAME_START


def _boot() -> str:
    if _BOOT_ID.is_file():
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return str(round(float(psutil.boot_time()) / 60))


def runner(path: Path) -> Owner | None:
    """Return the living process that holds the lock file `path`; None if there is none.

    Raises TunerError on a file system without file locks: SQLite would wait there for 30 s.
    """
    try:
        with path.open(encoding="utf-8") as file:
            _require_lockable(file, path.parent)
            owner: Owner = json.load(file)
        return owner if lives(owner) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the system releases it when the process ends, even if killed.

    Raises StudyBusyError, with the owner's process number, while another process holds it, and
    TunerError on a file system without the two kinds of locks that a study needs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _require_locks(path)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = runner(path)
            who = f"process {owner['pid']}" if owner else "another process"
            raise StudyBusyError(
                f"{path.parent} is being run by {who}; watch it with "
                f"`tuner status {path.parent.name}`, or stop that process first"
            ) from error
        file.truncate(0)
        json.dump(this_process(), file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
            fcntl.flock(file.fileno(), fcntl.LOCK_UN)


def _require_locks(path: Path) -> None:
    """Raise TunerError if files beside `path` cannot be locked: SQLite would wait for 30 s first.

    The locks are tried on a file of its own: closing any file gives up all POSIX locks on it.
    """
    with tempfile.TemporaryFile(dir=path.parent, prefix=".lock.") as file:
        _require_lockable(file, path.parent)
        with _refusing(path.parent):
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _require_lockable(file: IO[Any], folder: Path) -> None:
    """Raise TunerError if `file` in `folder` cannot have a POSIX lock, as SQLite takes them."""
    with _refusing(folder), contextlib.suppress(BlockingIOError, PermissionError):
        fcntl.lockf(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(file.fileno(), fcntl.LOCK_UN)


@contextlib.contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise no_locks(folder) from error
        raise
