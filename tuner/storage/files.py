"""Write files whole or not at all, and check beforehand that they can be written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import ConfigError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` at the end.

    A reader sees the old file or the new one, whole; after an error only the old one is left.
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
    """Remove what a process that was killed had half written anywhere below `folder`."""
    for temporary in folder.rglob(".*.tmp*"):
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def check_outputs(csv_file: Path | None, json_file: Path | None) -> None:
    """Raises ConfigError where a table cannot be written there, before anything is judged."""
    check_output(csv_file, ".csv")
    check_output(json_file, ".json")


def check_output(path: Path | None, suffix: str) -> None:
    """Raises ConfigError where no file of that suffix can be written; None is nothing to write.

    The suffix has to be right, so that no picture is written over by a slip.
    """
    if path is None:
        return
    if path.suffix.lower() != suffix or path.is_dir():
        raise ConfigError(f"{path}: name a file that ends in {suffix}")
    parent = next(each for each in path.absolute().parents if each.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written: {parent} is no folder to write in")


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all. Raises ConfigError where it cannot be written."""
    try:
        write_text(path, text)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
