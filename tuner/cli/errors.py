"""Print errors that a user can correct, one line each on stderr, and set the exit code."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

import typer

from metrics.detectors.models import ModelUnavailableError
from tuner.errors import DiskError, MissingModelError, Terminated, TunerError
from tuner.terminal import say
from tuner.text import printable


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Print an error that a user can correct on stderr, and exit with its exit code.

    Raises typer.Exit; other exceptions, which are bugs, pass through.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise typer.Exit(143 if isinstance(error, Terminated) else 130) from error
    except ModelUnavailableError as error:
        raise _exit_with(MissingModelError(str(error))) from error
    except TunerError as error:
        raise _exit_with(error) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        full = DiskError(
            f"no space left on the disk for {error.filename or error}; free some and run the same "
            "command again"
        )
        raise _exit_with(full) from error


def _exit_with(error: TunerError) -> typer.Exit:
    for line in str(error).splitlines():
        say(f"error: {printable(line)}")
    return typer.Exit(error.exit_code)
