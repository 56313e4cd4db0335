"""Start of the command line. It imports next to nothing, so that Ctrl-C works at once."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line; Ctrl-C and SIGTERM end it at once while its modules are imported.

    A command has its own handlers while it works (`tuner.terminal.stopping`).
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    sys.unraisablehook = _end_if_interrupted
    from tuner.cli.app import main as run

    run()


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _end_if_interrupted(ignored: sys.UnraisableHookArgs) -> None:
    """End the process if a library dropped the exception of Ctrl-C, which would be lost."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        os._exit(128 + signal.SIGINT)
    sys.__unraisablehook__(ignored)
