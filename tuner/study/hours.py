"""Budgets in hours: the time that a study took, and whether one more trial fits.

The time of all runs counts, and no time in between. It is stored every half a minute, so that a run
that is killed loses no more.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass, replace

from tuner.errors import TunerError
from tuner.events import COUNTED
from tuner.space import StudyConfig
from tuner.storage import Store
from tuner.storage.columns import utc_now
from tuner.storage.rows import RunRow
from tuner.study.cost import estimate
from tuner.text import duration

_STORE_EVERY = 30.0
_HOUR = 3600.0
_WHOLE = ("complete", "infeasible")
"""States of trials that reached their last rung."""


class RunClock:
    """Measures the time of a run, and its workers' time at work, into results.db."""

    def __init__(self, store: Store, began: float | None = None) -> None:
        """Begin at `began` (time.monotonic()), or now; one worker is at work at first.

        A run keeps the reason for which the run before began no further trial, until `end`.
        """
        before = store.runs()
        ended = before[-1].ended if before else None
        self.row = RunRow(len(before), utc_now(), 0.0, 0.0, ended)
        self.over = False
        self.store = store
        self._last = time.monotonic() if began is None else began
        self.stored: float | None = None

    def tick(self, busy: int) -> None:
        """Count the time since the last tick, in which `busy` workers were at work."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        row = self.row
        self.row = replace(row, seconds=row.seconds + passed, busy=row.busy + passed * busy)
        if self.stored is None or now - self.stored >= _STORE_EVERY:
            self._put()

    def end(self, ended: str | None) -> None:
        """Store the time, and why no further trial is begun; None: there is time for one."""
        self.over = ended is not None
        if self.stored is None or ended != self.row.ended:
            self.row = replace(self.row, ended=ended)
            self._put()

    def close(self) -> None:
        """Store the time; an error in that is not the one to show."""
        with contextlib.suppress(TunerError):
            self._put()

    def _put(self) -> None:
        self.store.put_run(self.row)
        self.stored = self._last


@dataclass(frozen=True)
class Expected:
    """Seconds that a further trial is expected to take, and the confirmation after all trials."""

    trial: float
    confirmation: float


def expected(config: StudyConfig, store: Store) -> Expected:
    """Return the expected times: of a trial the median of those that were finished.

    Before the first it is the estimate of `tuner.study.cost`; that of the confirmation is scaled by
    what whole trials took, those that were not stopped, in place of their estimate.
    """
    budget, trials = config.budget, store.trials()
    times = [row.seconds for row in trials if row.state in COUNTED and row.seconds]
    whole = [row.seconds for row in trials if row.state in _WHOLE and row.seconds]
    if config.recipes:  # each is trained with other settings; they have no confirmation
        mean = estimate(config).seconds / budget.trials
        return Expected(statistics.median(times) if times else mean, 0.0)
    several, single, confirmed = (
        estimate(config.model_copy(update={"budget": budget.model_copy(update=changes)})).seconds
        for changes in (
            {"trials": 2, "confirm": 0},
            {"trials": 1, "confirm": 0},
            {"trials": max(1, budget.confirm)},
        )
    )
    foretold = several - single
    unconfirmed = single + foretold * (max(1, budget.confirm) - 1)
    trial = statistics.median(times) if times else foretold
    slower = statistics.median(whole) / foretold if whole else trial / foretold
    return Expected(trial, (confirmed - unconfirmed) * slower)


def no_time_left(config: StudyConfig, store: Store, now: RunRow, running: int) -> str | None:
    """Return why no further trial fits the budget's hours, None if it fits.

    `now` is the time of this run so far. The `running` trials are taken to need half of their
    time still, and the confirmation's time is kept.
    """
    budget = config.budget
    if budget.hours is None and budget.gpu_hours is None:
        return None
    need = expected(config, store)
    spent, busy = spent_seconds([*(row for row in store.runs() if row.number != now.number), now])
    kept = f" and {duration(need.confirmation)} for the confirmation" if budget.confirm else ""
    for limit, name, used in (
        (budget.hours, "hours", spent),
        (budget.gpu_hours, "gpu_hours", busy + running * need.trial / 2),
    ):
        if limit is not None and used + need.trial + need.confirmation > limit * _HOUR:
            return f"`{name}: {limit:g}` leaves no {duration(need.trial)} for another trial{kept}"
    return None


def spent_seconds(runs: list[RunRow]) -> tuple[float, float]:
    """Return the seconds of all runs, and those of their workers at work."""
    return sum(row.seconds for row in runs), sum(row.busy for row in runs)
