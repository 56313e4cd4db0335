"""End a worker that stops in the middle of a message, for which this process would wait forever."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess

_LOOKS = 4
"""How often a message is looked at within its time."""


class Guard:
    """Kills `process` if a message takes longer than `seconds` once its first bytes are there.

    One thread serves all messages; it starts with the first and ends with `close`.
    """

    def __init__(self, process: SpawnProcess, seconds: float) -> None:
        """Create the guard without its thread."""
        self._process, self._seconds = process, seconds
        self._since: float | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def message(self) -> Iterator[None]:
        """Receive a message within the context."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="tuner-guard", daemon=True)
            self._thread.start()
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def close(self) -> None:
        """End the thread."""
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self._seconds / _LOOKS):
            since = self._since
            if since is not None and time.monotonic() - since > self._seconds:
                self._process.kill()
                return
