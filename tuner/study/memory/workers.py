"""What the workers of a running study do, in running.json for other processes to read."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.events import Event, Phase, Progress
from tuner.results.running import IDLE, STARTING, WorkerState
from tuner.storage import StudyFolder
from tuner.storage.columns import utc_now
from tuner.storage.json_text import json_text
from tuner.worker import Worker

_EVERY = 1.0
"""Seconds between two writings where much happens, as with many workers."""
_AT_ONCE = 5.0
"""Writings that may follow each other without a pause: with few workers each change is seen."""


@dataclass
class _Doing:
    """What a worker does; times are of time.monotonic(), `since` also in UTC."""

    doing: str = STARTING
    trial: int | None = None
    repeat: int = 0
    step: int | None = None
    of: int | None = None
    since: str = ""
    begun: float | None = None
    idle: float = 0.0
    idle_from: float | None = None


class WorkerTable:
    """The states of the workers `pool` of the study in `folder`, written as they change."""

    def __init__(self, folder: StudyFolder, pool: Sequence[Worker]) -> None:
        """Create the table; nothing is written before something happens."""
        self._path = folder.running
        self._pool = pool
        self._begun = utc_now()
        self._states: dict[int, _Doing] = {}
        self._written = time.monotonic()
        self._left = _AT_ONCE

    def note(self, place: int, trial: int | None, repeat: int, event: Event) -> None:
        """Take up an event of the work that the worker at `place` does."""
        state, now = self._states.setdefault(place, _Doing(since=self._begun)), time.monotonic()
        changed = (trial, repeat) != (state.trial, state.repeat) or state.doing == IDLE
        if changed:
            state.trial, state.repeat, state.doing = trial, repeat, STARTING
            state.since, state.step, state.of = utc_now(), None, None
        if state.idle_from is not None:
            state.idle, state.idle_from = state.idle + now - state.idle_from, None
        state.begun = now if state.begun is None else state.begun
        if isinstance(event, Phase):
            state.doing, state.since, state.step, state.of = event.name, utc_now(), None, None
            changed = True
        if isinstance(event, Progress):
            state.step, state.of = event.done, event.total
        self._write(now, changed)

    def free(self, place: int) -> None:
        """Take up that the work of the worker at `place` is over."""
        now = time.monotonic()
        state = self._states.setdefault(place, _Doing(begun=now))
        state.doing, state.trial, state.repeat, state.since = IDLE, None, 0, utc_now()
        state.step, state.of, state.idle_from = None, None, now
        self._write(now, True)

    def close(self) -> None:
        """Remove the file: nothing runs."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self, now: float, changed: bool) -> None:
        """Write the file, unless it was written a moment ago."""
        passed = now - self._written
        if passed < _EVERY and not changed:
            return
        left = min(_AT_ONCE, self._left + passed / _EVERY)
        if left < 1:
            return
        self._written, self._left = now, left - 1
        workers = [
            vars(self._state(place, state, now)) for place, state in sorted(self._states.items())
        ]
        text = json_text({"begun": self._begun, "written": utc_now(), "workers": workers})
        # Not written through to the disk: it is for those who watch now, and lost with the run.
        temporary = self._path.with_name(f".{self._path.stem}.{os.getpid()}.tmp.json")
        with contextlib.suppress(OSError):  # a full disk is found by what has to be kept
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._path)

    def _state(self, place: int, state: _Doing, now: float) -> WorkerState:
        node = self._pool[place].node if place < len(self._pool) else None
        idle = state.idle + (now - state.idle_from if state.idle_from is not None else 0.0)
        known = now - state.begun if state.begun is not None else 0.0
        what = (state.doing, state.trial, state.repeat, state.step, state.of, state.since)
        return WorkerState(place, node, *what, round(idle, 3), round(known, 3))
