"""Run a study: draw parameters, run trials, store what they measured, report to Optuna, resume.

`run_study` is a generator of events. If it is closed, interrupted with Ctrl-C or killed, only the
running trial is lost, and its parameters are queued again. A worker process owns the device
(`tuner.worker.worker`); this process draws parameters, decides and stores.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial

from tuner.errors import TooManyFailuresError
from tuner.events import Event, Progress, TrialEnded, TrialState
from tuner.space import StudyConfig, TrainConfig
from tuner.space.config import rung_steps
from tuner.storage import StudyFolder
from tuner.storage.address import Address
from tuner.storage.files import sweep
from tuner.study.begin import open_session
from tuner.study.hours import RunClock, no_time_left
from tuner.study.one_trial import Session, one_trial
from tuner.study.optuna_study import ask, ended, reasons, remaining, settle_dead
from tuner.study.record import data_hashes, read_data
from tuner.study.stopping import Ending
from tuner.study.suggest import suggest
from tuner.trial.messages import Idle, Outcome
from tuner.worker import Worker, trial_attempts
from tuner.worker.attempts import base_scores
from tuner.worker.process import Share
from tuner.worker.worker import Patience

RunTrial = Callable[[int, TrainConfig], Iterator[Outcome]]
"""Runs trial `number` with `config`; yields its outcomes."""

MOST_FAILURES = 3
"""The study stops after this many failures in a row for a reason outside the parameters."""


def run_study(
    config: StudyConfig,
    folder: StudyFolder,
    patience: Patience | None = None,
    workers: int = 1,
    server: Address | None = None,
) -> Generator[Event, None, None]:
    """Run or resume the study in `folder` until `config.budget.trials` trials are finished.

    `patience` limits how long a worker may be silent; each of `workers` runs a trial of its own.
    `server` keeps Optuna's study in place of optuna.db (tuner.space.server.choose_storage).
    Raises ConfigError when the folder holds another study or lost a part of this one,
    StudyBusyError while another process runs it, TooManyFailuresError after three failures in a
    row, DiskError on a full disk.
    """
    data = read_data(config)
    with open_session(config, folder, data_hashes(data), server) as session:
        yield from take_up(session)
        clock = RunClock(session.store)
        if _goes_on(session, clock, running=0):
            with contextlib.ExitStack() as stack:
                shares = [Share(place, workers) for place in range(workers)]
                pool = [
                    stack.enter_context(
                        contextlib.closing(Worker(config, folder, data, patience, share))
                    )
                    for share in shares
                ]
                yield from base_scores(pool[0], config, folder, session.store)
                runs = [partial(trial_attempts, worker, config.budget) for worker in pool]
                yield from search(session, *runs, clock=clock)


def take_up(session: Session) -> Iterator[Event]:
    """Clean up after an earlier run: trials whose process died are queued again."""
    study = session.folder
    for folder in (study.base, study.trials, study.confirm, study.kept):
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
    # An earlier run was killed after the end was stored in optuna.db and before results.db.
    for number, last in ended(session.memory).items():
        if states.get(number) == "running":
            session.store.end_trial(number, last, reasons(session.memory).get(number))


@dataclass(frozen=True)
class _Running:
    """A running trial: its number, the function that runs it, and its events."""

    number: int
    run: RunTrial
    events: Generator[Event | Idle, None, Ending]


def _goes_on(session: Session, clock: RunClock, running: int) -> bool:
    """Return True if the budget has another trial beside the `running` ones; note why it has none.

    Once there is no time for another trial, none is begun in this run.
    """
    if remaining(session.memory, session.config.budget.trials) <= running:
        return False
    if running and clock.row.ended:
        return False
    clock.end(no_time_left(session.config, session.store, clock.row, running))
    return clock.row.ended is None


def search(
    session: Session, *runs: RunTrial, clock: RunClock | None = None
) -> Generator[Event, None, None]:
    """Run trials until the budget is spent, one trial at a time with each of `runs`.

    `clock` measures the run; None: it begins now.
    """
    clock = clock or RunClock(session.store)
    failures, free = 0, list(runs)
    running: list[_Running] = []
    try:
        while True:
            clock.tick(max(1, len(running)))
            while free and _goes_on(session, clock, len(running)):
                running.append(_begun(session, free.pop(0), beside=len(runs) > 1))
            if not running:
                return
            for trial in list(running):
                ending = yield from _next_event(trial, name_trial=len(runs) > 1)
                clock.tick(len(running))
                if ending is None:
                    continue
                running.remove(trial)
                free.append(trial.run)
                failures = failures + 1 if ending.state == "failed" else 0
                if failures == MOST_FAILURES:
                    raise _too_many(session, trial.number, ending)
    finally:
        clock.close()
        for trial in running:
            trial.events.close()


def _next_event(trial: _Running, name_trial: bool) -> Generator[Event, None, Ending | None]:
    """Yield the trial's next event, if there is one now; return its ending once it is over.

    With `name_trial` the trial's number is set in progress events.
    """
    try:
        event = next(trial.events)
    except StopIteration as end:
        ending: Ending = end.value
        return ending
    if isinstance(event, Progress) and name_trial:
        event = replace(event, trial=trial.number)
    if not isinstance(event, Idle):
        yield event
    return None


def _begun(session: Session, run: RunTrial, beside: bool) -> _Running:
    trial = ask(session.memory, session.config, beside)
    train = suggest(trial, session.config)
    last_step = rung_steps(train, session.config.budget)[-1]
    events = one_trial(session, trial, run(trial.number, train), last_step)
    return _Running(trial.number, run, events)


def _too_many(session: Session, number: int, last: Ending) -> TooManyFailuresError:
    failure = session.folder.trial(number).failure
    see = f"; see {failure}" if failure.is_file() else ""
    return TooManyFailuresError(
        f"{MOST_FAILURES} trials in a row failed, the last with: {last.reason}{see}"
    )
