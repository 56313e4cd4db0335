"""Write files completely or not at all, and check in advance that they can be written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import ConfigError, TunerError
from tuner.text import readable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, or of a user's share of it, that is full, or of a limit on a file's size."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder to write to, and rename it to `path` at the end.

    A reader sees the complete old or the complete new file; after an error the old file is kept.
    An OSError names `path`, not the temporary file. Raises ConfigError for a `path` that is a
    folder, a device, a pipe or a socket.
    """
    refuse_other_kinds(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):  # it may lie in a folder that may not be read
            temporary.unlink(missing_ok=True)


def refuse_other_kinds(path: Path) -> None:
    """Raise ConfigError if `path` exists and is no file: a folder, a device, a pipe, a socket."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "a device, a pipe or a socket"
        raise ConfigError(f"{path} is {what}; name a file")


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left anywhere below `folder`."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and ".tmp" in name:
                Path(place, name).unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """Read a file of UTF-8 text, with or without a byte order mark.

    Raises OSError if it cannot be read or is a pipe or a device, which could block for ever.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "not a file", str(path))
    return path.read_text(encoding="utf-8-sig")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, completely or not at all; halves of characters are replaced."""
    with replacing(path) as temporary:
        temporary.write_text(readable(text), encoding="utf-8", newline="\n")


def check_outputs(csv_file: Path | None, json_file: Path | None) -> None:
    """Raise ConfigError if a table cannot be written there, before anything is judged."""
    check_output(csv_file, ".csv")
    check_output(json_file, ".json")


def check_output(path: Path | None, suffix: str) -> None:
    """Raise ConfigError if `path` cannot be written or has another suffix; None is accepted.

    The suffix is checked so that no picture is overwritten by mistake.
    """
    if path is None:
        return
    if path.suffix.lower() != suffix or os.path.isdir(path):
        raise ConfigError(f"{path}: name a file that ends in {suffix}")
    check_writable(path)


def refuse_inside(path: Path | None, folder: Path) -> None:
    """Raise ConfigError if `path` lies in `folder`, which is only read; None is accepted."""
    if path is not None and path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{path} lies in {folder}, which is only read; name a file elsewhere")


def check_writable(path: Path) -> None:
    """Raise ConfigError if no file can be written at `path`, or if something else is there."""
    refuse_other_kinds(path)
    parent = next(folder for folder in path.absolute().parents if os.path.exists(folder))
    if not os.path.isdir(parent) or not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{path} cannot be written: {parent} is not a writable folder")


def refuse_existing(path: Path, force: bool) -> None:
    """Raise TunerError if something is at `path`, unless it may be replaced by `force`."""
    if os.path.lexists(path) and not force:
        raise TunerError(f"{path} exists; give another name, or --force to write over it")


def write_whole(path: Path, text: str) -> None:
    """Write `text` completely or not at all. Raises ConfigError if it cannot be written."""
    try:
        write_text(path, text)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
