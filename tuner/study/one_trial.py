"""Run one trial of a study to its end, store its rungs, and report how it ended.

If the study is stopped during a trial, the trial's parameters are queued again.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import partial

import optuna

from metrics.detectors.models import ModelUnavailableError
from tuner.errors import (
    DivergedError,
    OutOfMemoryError,
    Terminated,
    TunerError,
    UnusableFileError,
)
from tuner.events import Event, Phase, RungScored, TrialEnded, TrialStarted
from tuner.space import StudyConfig
from tuner.storage import Store, StudyFolder
from tuner.storage.columns import utc_now
from tuner.storage.files import FULL, sweep, write_text
from tuner.storage.rows import RungRow
from tuner.study.optuna_study import complete, fail, note_rung, prune, requeue
from tuner.study.stopping import Ending, Rivals, early_ending, final_ending
from tuner.text import readable
from tuner.trial import Rung
from tuner.trial.messages import BaseNeeded, ExtraScored, Idle, Outcome
from tuner.worker import WorkerLostError
from tuner.worker.attempts import MOST_LOSSES


@dataclass(frozen=True)
class Session:
    """An open study: its configuration, its folder, and its two databases.

    `rivals` has what was read of results.db to compare trials at their rungs.
    """

    config: StudyConfig
    folder: StudyFolder
    memory: optuna.Study
    store: Store
    rivals: Rivals = field(default_factory=dict)


def one_trial(
    session: Session, trial: optuna.Trial, outcomes: Iterator[Outcome], last_step: int
) -> Generator[Event | Idle | BaseNeeded, None, Ending]:
    """Run one trial to its end, at the rung of `last_step` or before; report it to both databases.

    If the study is stopped during the trial (Ctrl-C, a closed generator, an error for the user),
    the trial's parameters are queued again and the exception is raised again.
    """
    began = time.monotonic()
    try:
        retry_of = trial.user_attrs.get("retry_of")
        session.store.begin_trial(trial.number, trial.params, retry_of)
        yield TrialStarted(trial.number, dict(trial.params))
        ending = yield from _follow(session, trial, outcomes, last_step)
    except BaseException as error:
        reason = reason_to_stop(error)
        # The original error is the one to show. A trial whose end could not be stored is still
        # running for Optuna, and the next run settles it.
        with contextlib.suppress(Exception):
            requeue(session.memory, trial, reason)
            session.store.end_trial(trial.number, "interrupted", reason)
        if not isinstance(error, GeneratorExit):
            yield TrialEnded(trial.number, "interrupted", reason)
        raise
    _report_ending(session, trial, ending, time.monotonic() - began)
    yield TrialEnded(trial.number, ending.state, ending.reason)
    return ending


def _follow(
    session: Session, trial: optuna.Trial, outcomes: Iterator[Outcome], last_step: int
) -> Generator[Event | Idle | BaseNeeded, None, Ending]:
    """Pass a trial's events on and store its rungs, until it ends or is stopped at a rung."""
    last: RungRow | None = None
    stops = partial(early_ending, session.config, session.store, known=session.rivals)
    with (
        contextlib.closing(PhaseClock(session.store)) as clock,
        contextlib.closing(guarded(outcomes)) as watched,
    ):
        for outcome in watched:
            if isinstance(outcome, Ending):
                return outcome
            if isinstance(outcome, ExtraScored):
                session.store.put_extra(outcome.row, outcome.scored)
                continue
            if not isinstance(outcome, Rung):
                clock.note(outcome)
                yield outcome
                continue
            with session.store.together(lasting=False):
                last = _keep_rung(session, trial, outcome)
                clock.end()
            goes_on = last.step < last_step and outcome.failure is None
            note_rung(trial, last, session.folder.artifacts)
            yield scored_event(last)
            if outcome.failure is not None:
                return Ending("pruned", outcome.failure)
            if goes_on and (end := stops(last)):
                return end
    if last is None:
        return Ending("failed", "the trial ended before its first rung")
    return final_ending(session.config, last)


def guarded(outcomes: Iterator[Outcome]) -> Generator[Outcome | Ending, None, None]:
    """Yield a trial's outcomes; an error that its own work raised becomes its ending."""
    try:
        yield from outcomes
    except DivergedError as error:
        yield Ending("pruned", f"diverged: {error}")
    except (MemoryError, OutOfMemoryError) as error:
        yield Ending("pruned", ": ".join(filter(None, ("out of memory", _first_line(error)))))
    except UnusableFileError as error:
        yield Ending("failed", _first_line(error))
    except (TunerError, ModelUnavailableError):
        raise
    except WorkerLostError as error:
        yield Ending("failed", f"{error}, {MOST_LOSSES} times in a row")
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        reason = f"{type(error).__name__}: {_first_line(error)}"
        yield Ending("failed", reason, trace=traceback.format_exc())


def scored_event(row: RungRow) -> RungScored:
    """Return the event of a rung that is stored."""
    numbers = (row.objectives, row.rates, row.grid, row.lora, row.measures)
    return RungScored(row.trial, row.step, *numbers)


def _keep_rung(session: Session, trial: optuna.Trial, rung: Rung) -> RungRow:
    row = rung.row(trial.number, session.folder.trial(trial.number).rung(rung.step).grid)
    cells = None if rung.seeds is None else session.config.suite.places(rung.seeds)
    session.store.put_rung(row, rung.scored, cells)
    session.rivals.get(row.step, {}).pop(row.trial, None)
    if rung.device is not None:
        session.store.put_device(trial.number, rung.device)
    return row


def _report_ending(session: Session, trial: optuna.Trial, ending: Ending, seconds: float) -> None:
    folder = session.folder.trial(trial.number)
    sweep(folder.root)
    if ending.trace:
        write_text(folder.failure, ending.trace)
    # Lasting, with the trial's rungs: what Optuna knows the end of, results.db has to have.
    session.store.end_trial(trial.number, "running", None, seconds)
    if ending.state == "failed":
        fail(session.memory, trial, ending.reason or "")
    elif ending.state == "pruned":
        prune(session.memory, trial, ending.reason or "")
    else:
        # A stopped trial is COMPLETE for Optuna, too. In simulations (four objectives, half of the
        # space poor, 40 trials, 60 seeds) the last eight trials that were not stopped then had the
        # strength 0.78, the same as with PRUNED and a broken constraint; with FAIL, from which the
        # sampler learns nothing, 0.75.
        complete(
            session.memory, trial, ending.values, ending.constraints, ending.reason, ending.behind
        )
    with session.store.together(lasting=False):  # if it is lost, `take_up` writes it again
        session.store.end_trial(trial.number, ending.state, ending.reason)
    if ending.state != "failed":
        # Not written through to the disk: it is a mark for people, and the databases count.
        folder.root.mkdir(parents=True, exist_ok=True)
        folder.done.write_text(f"{ending.state}\n", encoding="utf-8")


def reason_to_stop(error: BaseException) -> str:
    """Return why a trial is interrupted, for its row."""
    if isinstance(error, Terminated):
        return "terminated"
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        return "stopped"
    return _first_line(error) or type(error).__name__


def _first_line(error: BaseException) -> str:
    return readable((str(error).strip().splitlines() or [""])[0][:200])


class PhaseClock:
    """Measures the phases of a trial, and stores their seconds with its rungs."""

    def __init__(self, store: Store) -> None:
        """Create the clock, with no phase open."""
        self._store = store
        self._open: tuple[Phase, str, float] | None = None
        self._over: list[tuple[int | None, str, str, float]] = []

    def note(self, event: Event | Idle | BaseNeeded) -> None:
        """Begin a new phase if the event is one."""
        if isinstance(event, Phase):
            self._end_phase()
            self._open = (event, utc_now(), time.monotonic())

    def end(self) -> None:
        """End the phase that is open, if any, and store what is not stored yet."""
        self._end_phase()
        with self._store.together():
            for phase in self._over:
                self._store.add_phase(*phase)
        self._over.clear()

    def close(self) -> None:
        """Store what is not stored yet; after an error that one is shown, and none of this."""
        if self._open or self._over:
            with contextlib.suppress(Exception):
                self.end()

    def _end_phase(self) -> None:
        if self._open:
            phase, begun, at = self._open
            self._over.append((phase.trial, phase.name, begun, time.monotonic() - at))
            self._open = None
