"""Print errors that a user can correct, one line each on stderr, and set the exit code.

With `--json` an error is one line of JSON on stdout too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import click
import typer

from metrics.detectors.models import ModelUnavailableError
from tuner.cli.json_lines import Write, json_only
from tuner.errors import (
    ConfigError,
    DiskError,
    DivergedError,
    MissingModelError,
    OutOfMemoryError,
    Terminated,
    TunerError,
)
from tuner.storage.files import FULL
from tuner.storage.shipped import cache_folder
from tuner.terminal import plain_warnings, say, stopping
from tuner.text import printable


@contextlib.contextmanager
def user_errors(json: bool = False) -> Iterator[Write | None]:
    """Print an error that a user can correct on stderr, and exit with its exit code.

    Warnings are printed as one line each. With `json` stdout is left to JSON
    (`tuner.cli.json_lines`): yields the function that prints it, else None. Raises typer.Exit;
    other exceptions, which are bugs, pass through.
    """
    with stopping() as signals, plain_warnings(), json_only(json) as write:
        try:
            yield write
        except KeyboardInterrupt as error:
            raise _stopped(write, isinstance(error, Terminated)) from error
        except (typer.Exit, click.exceptions.ClickException):
            raise
        except Exception as error:
            if signals:  # a library that was being imported made another error of Ctrl-C
                raise _stopped(write, signals[0] == signal.SIGTERM) from error
            known = for_user(error)
            if known is None:
                _write_error(write, f"{type(error).__name__}: {error}", 1)
                raise
            _write_error(write, str(known), known.exit_code)
            for line in str(known).splitlines():
                say(f"error: {printable(line)}")
            raise typer.Exit(known.exit_code) from error


def _stopped(write: Write | None, terminated: bool) -> typer.Exit:
    end = typer.Exit(143 if terminated else 130)
    _write_error(write, "terminated" if terminated else "stopped", end.exit_code)
    return end


def _write_error(write: Write | None, message: str, exit_code: int) -> None:
    if write is not None:
        with contextlib.suppress(OSError):  # a full disk, or a reader that is gone
            write({"event": "error", "message": message, "exit_code": exit_code})


def for_user(error: Exception) -> TunerError | None:
    """Return an error that a user can correct as a TunerError; None for a bug."""
    match error:
        case TunerError():
            return error
        case ModelUnavailableError():
            return MissingModelError(str(error))
        case DivergedError():
            return TunerError(f"no finite numbers: {error}; change the base or the parameters")
        case OutOfMemoryError() | MemoryError() | ImportError() if _of_memory(error):
            reason = str(error) or "out of memory"
            return TunerError(f"{reason}; free some memory and run the same command again")
        case UnicodeEncodeError():
            text = error.object.encode("ascii", "backslashreplace").decode("ascii")
            return ConfigError(
                f"{text[:300]} cannot be used with the letters of {error.encoding}: rename a file "
                "whose name is not UTF-8, or set PYTHONUTF8=1"
            )
        case _ if (cause := _database_cause(error)) is not None:
            return TunerError(f"a database cannot be used: {cause}")
        case OSError() if error.errno != errno.EPIPE:  # the reader of our output has gone
            return file_error(error)
    return None


def _of_memory(error: Exception) -> bool:
    """Return False for an import that failed for another reason than too little memory."""
    reasons = ("failed to map segment", "annot allocate memory")  # of the system's loader
    return not isinstance(error, ImportError) or any(reason in str(error) for reason in reasons)


def _database_cause(error: BaseException | None) -> sqlite3.Error | None:
    """Return SQLite's error behind an error of Optuna or SQLAlchemy; None without one."""
    while error is not None and not isinstance(error, sqlite3.Error):
        error = error.__cause__
    return error


def file_error(error: OSError) -> TunerError:
    """Return an error of the system with its path, the reason, and what to do about it.

    Full disks and places that cannot be written have DiskError's exit code, other paths that
    cannot be used that of ConfigError.
    """
    if error.errno in FULL:
        what = f" for {_place(error)}" if _place(error) else ""
        if error.errno == errno.EFBIG:
            return DiskError(f"a file is too large{what}; allow larger ones: `ulimit -f unlimited`")
        return DiskError(
            f"no space left on the disk{what}; free some and run the same command again"
        )
    path, reason = _place(error), " ".join((error.strerror or str(error)).split())
    if error.errno is None or not path:
        return TunerError(reason or type(error).__name__)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _refused(Path(path), reason)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return TunerError(f"{path}: {reason}; allow more with `ulimit -n 4096`")
    return ConfigError(f"{path} cannot be used ({reason}); {_other(Path(path))}")


def _place(error: OSError) -> str:
    """Return the path of an error, of two the one that was to be written; empty if unknown."""
    path = error.filename2 or error.filename
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""


def _refused(path: Path, reason: str) -> TunerError:
    """Return the error for a path that this user may not reach, read, or write."""
    way_out = f"change its permissions, or {_other(path)}"
    for folder in reversed(path.absolute().parents):
        if os.path.isdir(folder) and not os.access(folder, os.X_OK):
            return ConfigError(f"{path} cannot be read, {folder} is closed ({reason}); {way_out}")
    right = os.R_OK | (os.X_OK if os.path.isdir(path) else 0)
    if os.path.exists(path) and not os.access(path, right):
        return ConfigError(f"{path} cannot be read ({reason}); {way_out}")
    return DiskError(f"{path} cannot be written ({reason}); {way_out}")


def _other(path: Path) -> str:
    """Return how to use another place than `path`."""
    if path.absolute().is_relative_to(cache_folder().absolute()):
        return "set TUNER_HOME to another folder"
    return "give another path"
