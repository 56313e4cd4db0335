"""What the workers of a running study do: kept in running.json by the process that runs it.

Other processes read it (`tuner status --watch`, `tuner status --json`). It is written whole, and is
gone once the run has ended; that of a run that was killed does not count.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from tuner.storage import StudyFolder
from tuner.storage.lock import runner

IDLE, STARTING = "idle", "starting"
"""What a worker does that has no work now, or whose work has not sent anything yet."""


@dataclass(frozen=True)
class WorkerState:
    """Worker `place`, from 0, and what it does since `since` (UTC).

    `node` is the machine that it runs on, None before it has started. `doing` is IDLE, STARTING or
    the name of a phase (`tuner.events.PhaseName`), of `trial` (None: the base) and its `repeat`;
    `step` of `of` steps or samples are done, None where nothing is counted. `idle_seconds` of
    `known_seconds`, those since its first work, it had no work, as of `since` and `written`.
    """

    place: int
    node: str | None
    doing: str
    trial: int | None
    repeat: int
    step: int | None
    of: int | None
    since: str
    idle_seconds: float
    known_seconds: float


@dataclass(frozen=True)
class Running:
    """A run of a study that began at `begun`, as it was at `written` (both UTC)."""

    begun: str
    written: str
    workers: tuple[WorkerState, ...]

    @property
    def idle(self) -> float:
        """Share of the workers' time in which they had no work."""
        known = sum(worker.known_seconds for worker in self.workers)
        return sum(worker.idle_seconds for worker in self.workers) / known if known else 0.0

    @property
    def trials(self) -> int:
        """Number of trials that run now."""
        return len({each.trial for each in self.workers if each.trial is not None})


def read_running(folder: StudyFolder) -> Running | None:
    """Return what the workers do; None if no living process of this machine runs the study."""
    if runner(folder.lock) is None:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(folder.running.read_text(encoding="utf-8"))
        workers = tuple(WorkerState(**worker) for worker in known["workers"])
        return Running(known["begun"], known["written"], workers)
    return None


def seconds_since(utc: str, now: datetime | None = None) -> float:
    """Return the seconds from a time of the databases' format to `now` (None: this moment)."""
    passed = (now or datetime.now(UTC)) - datetime.fromisoformat(utc)
    return max(0.0, passed.total_seconds())
