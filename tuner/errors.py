"""Errors that a user can cause and mend: one clear line each, with the exit code of the command.

DivergedError and OutOfMemoryError end a trial and are recorded as its reason. Any other exception
that reaches the command line is a bug and keeps its traceback.
"""

from __future__ import annotations


class TunerError(Exception):
    """Base of all errors told in one line: what was found, what is allowed, what to do next."""

    exit_code = 1


class ConfigError(TunerError):
    """A search space, a suite, a data folder or a study that cannot be used as it is."""

    exit_code = 3


class MissingModelError(TunerError):
    """A model that is not here and cannot be fetched."""

    exit_code = 4


class TooManyFailuresError(TunerError):
    """Trials that failed one after the other for a reason outside their parameters."""

    exit_code = 5


class DiskError(TunerError):
    """No room to write what the study needs."""

    exit_code = 74


class DivergedError(Exception):
    """The loss, the weights or the pictures of a trial are no longer finite numbers."""


class OutOfMemoryError(Exception):
    """A trial needs more memory than the device or the machine has."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: stop as Ctrl-C does."""
