"""Errors that a user can cause and correct, each with one clear line and an exit code.

DivergedError and OutOfMemoryError end a trial and are recorded as its reason. Any other exception
that reaches the command line is a bug and keeps its traceback.
"""

from __future__ import annotations

import pickle


class TunerError(Exception):
    """Base of all errors for users; the message has what was found, what is allowed, what to do."""

    exit_code = 1


class ConfigError(TunerError):
    """A search space, a suite, a data folder or a study that cannot be used as it is."""

    exit_code = 3


class MissingModelError(TunerError):
    """A model that is not on this machine and cannot be downloaded."""

    exit_code = 4


class TooManyFailuresError(TunerError):
    """Trials that failed one after the other for a reason outside their parameters."""

    exit_code = 5


class NoAnswerError(TunerError):
    """No file that was judged may be taken."""

    exit_code = 6


class DiskError(TunerError):
    """Not enough disk space for the files of a study."""

    exit_code = 74


class JudgeLostError(Exception):
    """A judge process that ended in the middle of its work, killed or by itself."""


class UnusableFileError(TunerError):
    """A LoRA or checkpoint that is broken, or does not fit the base."""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received: stop in the same way as after Ctrl-C."""


class DivergedError(Exception):
    """The loss, the weights or the pictures of a trial are no longer finite numbers."""


class OutOfMemoryError(Exception):
    """A trial needs more memory than the device or the machine has."""


def portable(error: Exception) -> Exception:
    """Return `error` if it can be unpickled without a network's library, else its text."""
    text = f"{type(error).__name__}: {error}"
    if type(error).__module__.partition(".")[0] not in ("builtins", "tuner", "metrics"):
        return RuntimeError(text)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(text)
    return error
