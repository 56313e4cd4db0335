"""What a user can cause and mend is told in one line on stderr, with the command's exit code."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

import typer

from metrics.detectors.models import ModelUnavailableError
from tuner.errors import DiskError, MissingModelError, Terminated, TunerError
from tuner.terminal import say


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn what a user can cause and mend into its line on stderr and its exit code."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise typer.Exit(143 if isinstance(error, Terminated) else 130) from error
    except ModelUnavailableError as error:
        raise _refusal(MissingModelError(str(error))) from error
    except TunerError as error:
        raise _refusal(error) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _refusal(DiskError(f"no room left on the disk: {error.filename or error}")) from error


def _refusal(error: TunerError) -> typer.Exit:
    for line in str(error).splitlines():
        say(f"error: {line}")
    return typer.Exit(error.exit_code)
