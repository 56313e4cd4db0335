"""A study: ask for parameters, run the trial, keep what it measured, tell how it ended, resume.

`run_study` is a generator of events. Who stops reading, presses Ctrl-C or ends the process loses
the trial that runs, whose parameters are queued again; nothing else. The device is a worker's
(`tuner.workers`): this process asks, decides and keeps.
"""

from __future__ import annotations

import contextlib
import errno
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial

import optuna

from metrics.models import ModelUnavailableError
from tuner.attempts import MOST_LOSSES, base_told, trial_attempts
from tuner.config import StudyConfig, TrainConfig, rung_steps
from tuner.ending import Ending, judged, stopped
from tuner.errors import TooManyFailuresError, TunerError
from tuner.events import Event, Phase, RungScored, TrialEnded, TrialStarted, TrialState
from tuner.optuna_study import (
    ask,
    complete,
    ended,
    fail,
    note_rung,
    opened,
    prune,
    reasons,
    remaining,
    requeue,
    settle_dead,
)
from tuner.outcomes import DivergedError, ExtraFound, Outcome, OutOfMemoryError, Rung
from tuner.process import Terminated, locked
from tuner.rows import RungRow
from tuner.rungs import hard_failure
from tuner.space import suggest
from tuner.store import Store, utc_now
from tuner.study_folder import StudyFolder, sweep, write_text
from tuner.study_record import data_hashes, read_data, record_study
from tuner.workers import Patience, Worker, WorkerLostError
from tuner.write_ahead import write_ahead

RunTrial = Callable[[int, TrainConfig], Iterator[Outcome]]
"""What a trial of that number and configuration does."""

MOST_FAILURES = 3
"""After so many trials in a row that failed for a reason outside their parameters, stop."""


@dataclass(frozen=True)
class Session:
    """An open study: what is asked for, where it lies, and its two memories."""

    config: StudyConfig
    folder: StudyFolder
    memory: optuna.Study
    store: Store


def run_study(
    config: StudyConfig, folder: StudyFolder, patience: Patience | None = None
) -> Generator[Event, None, None]:
    """Run or take up the study in `folder` until `config.budget.trials` trials are finished.

    `patience` says how long the worker may be silent. Raises ConfigError when the folder holds
    another study, StudyBusyError while another process runs it, TooManyFailuresError after three
    failures in a row, DiskError on a full disk.
    """
    data = read_data(config)
    hashes = data_hashes(data)
    folder.create()
    with (
        locked(folder.lock),
        write_ahead(folder.optuna_db, folder.results_db),
        opened(config, folder, hashes) as memory,
        Store(folder.results_db) as store,
    ):
        session = Session(config, folder, memory, store)
        record_study(config, folder, store, hashes)
        yield from take_up(session)
        if remaining(memory, config.budget.trials):
            with contextlib.closing(Worker(config, folder, data, patience)) as worker:
                yield from base_told(worker, config, folder, store)
                yield from search(session, partial(trial_attempts, worker, config.budget))


def take_up(session: Session) -> Iterator[Event]:
    """Settle what an earlier run left: trials whose process died are queued again."""
    for folder in (session.folder.base, session.folder.trials, session.folder.confirm):
        sweep(folder)
    states = {row.number: row.state for row in session.store.trials()}
    for number, reason in settle_dead(session.memory):
        state: TrialState = "interrupted"
        if ended(session.memory)[number] == "pruned":
            state = "pruned"
        if number in states:
            session.store.end_trial(number, state, reason)
        states[number] = state
        yield TrialEnded(number, state, reason)
    # Killed after Optuna was told and before the store was.
    for number, last in ended(session.memory).items():
        if states.get(number) == "running":
            session.store.end_trial(number, last, reasons(session.memory).get(number))


def search(session: Session, run: RunTrial) -> Iterator[Event]:
    """Ask, run and tell until the budget is spent."""
    failures = 0
    while remaining(session.memory, session.config.budget.trials):
        trial = ask(session.memory, session.config)
        train = suggest(trial, session.config)
        last_step = rung_steps(train, session.config.budget)[-1]
        ending = yield from one_trial(session, trial, run(trial.number, train), last_step)
        failures = failures + 1 if ending.state == "failed" else 0
        if failures == MOST_FAILURES:
            failure = session.folder.trial(trial.number).failure
            see = f"; see {failure}" if failure.is_file() else ""
            raise TooManyFailuresError(
                f"{failures} trials in a row failed, the last with: {ending.reason}{see}"
            )


def one_trial(
    session: Session, trial: optuna.Trial, outcomes: Iterator[Outcome], last_step: int
) -> Generator[Event, None, Ending]:
    """Follow one trial to its end, at the rung of `last_step` or before, and tell both memories.

    Whatever stops the study in the middle of it (Ctrl-C, a reader that went away, an error that
    is told to the user) queues the trial's parameters again and goes on up.
    """
    began = time.monotonic()
    try:
        retry_of = trial.user_attrs.get("retry_of")
        session.store.begin_trial(trial.number, trial.params, retry_of)
        yield TrialStarted(trial.number, dict(trial.params))
        ending = yield from _follow(session, trial, outcomes, last_step)
    except BaseException as error:
        reason = _reason_to_stop(error)
        # The error on its way up is the one to show; a trial that could not be told is still
        # running for Optuna, and the next run settles it.
        with contextlib.suppress(Exception):
            requeue(session.memory, trial, reason)
            session.store.end_trial(trial.number, "interrupted", reason)
        if not isinstance(error, GeneratorExit):
            yield TrialEnded(trial.number, "interrupted", reason)
        raise
    _tell(session, trial, ending, time.monotonic() - began)
    yield TrialEnded(trial.number, ending.state, ending.reason)
    return ending


def _follow(
    session: Session, trial: optuna.Trial, outcomes: Iterator[Outcome], last_step: int
) -> Generator[Event, None, Ending]:
    """Pass a trial's events on and keep its rungs, up to its end or where it does not go on."""
    last: RungRow | None = None
    clock = _PhaseClock(session.store)
    with contextlib.closing(_guarded(outcomes)) as guarded:
        for outcome in guarded:
            if isinstance(outcome, Ending):
                clock.end()
                return outcome
            if isinstance(outcome, ExtraFound):
                session.store.put_extra(outcome.row, outcome.scored)
                continue
            if not isinstance(outcome, Rung):
                clock.saw(outcome)
                yield outcome
                continue
            last = _keep_rung(session, trial, outcome)
            clock.end()
            yield RungScored(trial.number, last.step, last.objectives, last.rates, last.grid)
            if reason := hard_failure(outcome.scored):
                return Ending("pruned", reason)
            if last.step < last_step and (end := stopped(session.config, session.store, last)):
                return end
    clock.end()
    if last is None:
        return Ending("failed", "the trial ended before its first rung")
    return judged(session.config, last)


def _guarded(outcomes: Iterator[Outcome]) -> Generator[Outcome | Ending, None, None]:
    """A trial's outcomes, with what its own work raised as its ending."""
    try:
        yield from outcomes
    except DivergedError as error:
        yield Ending("pruned", f"diverged: {error}")
    except (MemoryError, OutOfMemoryError) as error:
        yield Ending("pruned", ": ".join(filter(None, ("out of memory", _first_line(error)))))
    except (TunerError, ModelUnavailableError):
        raise
    except WorkerLostError as error:
        yield Ending("failed", f"{error}, {MOST_LOSSES} times in a row")
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        reason = f"{type(error).__name__}: {_first_line(error)}"
        yield Ending("failed", reason, trace=traceback.format_exc())


def _keep_rung(session: Session, trial: optuna.Trial, rung: Rung) -> RungRow:
    row = rung.row(trial.number, session.folder.trial(trial.number).rung(rung.step).grid)
    cells = None if rung.seeds is None else session.config.suite.places(rung.seeds)
    session.store.put_rung(row, rung.scored, cells)
    note_rung(trial, row, session.folder.artifacts)
    return row


def _tell(session: Session, trial: optuna.Trial, ending: Ending, seconds: float) -> None:
    folder = session.folder.trial(trial.number)
    sweep(folder.root)
    if ending.trace:
        write_text(folder.failure, ending.trace)
    if ending.state == "failed":
        fail(session.memory, trial, ending.reason or "")
    elif ending.state == "pruned":
        prune(session.memory, trial, ending.reason or "")
    else:
        # A stopped trial too. Simulated (four objectives, half of the space poor, 40 trials, 60
        # seeds), the last eight that came through had the strength 0.78, as with PRUNED and a
        # broken constraint; told as FAIL, of which the sampler learns nothing, 0.75.
        complete(
            session.memory,
            trial,
            ending.values,
            ending.constraints,
            ending.reason,
            ending.behind,
        )
    session.store.end_trial(trial.number, ending.state, ending.reason, seconds)
    if ending.state != "failed":
        write_text(folder.done, f"{ending.state}\n")


def _reason_to_stop(error: BaseException) -> str:
    if isinstance(error, Terminated):
        return "terminated"
    if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
        return "stopped"
    return _first_line(error) or type(error).__name__


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


class _PhaseClock:
    """Writes how long each phase of a trial took, when the next one begins."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: tuple[Phase, str, float] | None = None

    def saw(self, event: Event) -> None:
        if isinstance(event, Phase):
            self.end()
            self._open = (event, utc_now(), time.monotonic())

    def end(self) -> None:
        if self._open:
            phase, begun, at = self._open
            self._store.add_phase(phase.trial, phase.name, begun, time.monotonic() - at)
            self._open = None
