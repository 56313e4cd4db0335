"""Write files completely or not at all, and check in advance that they can be written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import ConfigError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder to write to, and rename it to `path` at the end.

    A reader sees the complete old or the complete new file; after an error the old file is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left anywhere below `folder`."""
    for temporary in folder.rglob(".*.tmp*"):
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


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
    if path.suffix.lower() != suffix or path.is_dir():
        raise ConfigError(f"{path}: name a file that ends in {suffix}")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written: {parent} is not a writable folder")


def write_whole(path: Path, text: str) -> None:
    """Write `text` completely or not at all. Raises ConfigError if it cannot be written."""
    try:
        write_text(path, text)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
