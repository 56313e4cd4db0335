"""A study: ask for parameters, run the trial, keep what it measured, tell how it ended, resume.

`run_study` is a generator of events. Who stops reading, presses Ctrl-C or ends the process loses
the trial that runs, whose parameters are queued again; nothing else. The device is a worker's
(`tuner.worker.worker`): this process asks, decides and keeps.
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
from tuner.storage import Store, StudyFolder, locked
from tuner.storage.files import sweep
from tuner.storage.sqlite import write_ahead
from tuner.study.one_trial import Session, one_trial
from tuner.study.optuna_study import ask, ended, opened, reasons, remaining, settle_dead
from tuner.study.record import data_hashes, read_data, record_study
from tuner.study.stopping import Ending
from tuner.study.suggest import suggest
from tuner.trial.messages import Idle, Outcome
from tuner.worker import Worker, trial_attempts
from tuner.worker.attempts import base_told
from tuner.worker.process import Share
from tuner.worker.worker import Patience

RunTrial = Callable[[int, TrainConfig], Iterator[Outcome]]
"""What a trial of that number and configuration does."""

MOST_FAILURES = 3
"""After so many trials in a row that failed for a reason outside their parameters, stop."""


def run_study(
    config: StudyConfig,
    folder: StudyFolder,
    patience: Patience | None = None,
    workers: int = 1,
) -> Generator[Event, None, None]:
    """Run or take up the study in `folder` until `config.budget.trials` trials are finished.

    `patience` says how long a worker may be silent; each of `workers` has a trial of its own.
    Raises ConfigError when the folder holds another study, StudyBusyError while another process
    runs it, TooManyFailuresError after three failures in a row, DiskError on a full disk.
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
            with contextlib.ExitStack() as stack:
                shares = [Share(place, workers) for place in range(workers)]
                several = [
                    stack.enter_context(
                        contextlib.closing(Worker(config, folder, data, patience, share))
                    )
                    for share in shares
                ]
                yield from base_told(several[0], config, folder, store)
                runs = [partial(trial_attempts, worker, config.budget) for worker in several]
                yield from search(session, *runs)


def take_up(session: Session) -> Iterator[Event]:
    """Settle what an earlier run left: trials whose process died are queued again."""
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
    # Killed after Optuna was told and before the store was.
    for number, last in ended(session.memory).items():
        if states.get(number) == "running":
            session.store.end_trial(number, last, reasons(session.memory).get(number))


@dataclass(frozen=True)
class _Running:
    """A trial under way: who runs it, and its events."""

    number: int
    run: RunTrial
    events: Generator[Event | Idle, None, Ending]


def search(session: Session, *runs: RunTrial) -> Generator[Event, None, None]:
    """Ask, run and tell until the budget is spent, one trial at a time with each of `runs`."""
    failures, free = 0, list(runs)
    running: list[_Running] = []
    try:
        while True:
            while free and remaining(session.memory, session.config.budget.trials) > len(running):
                running.append(_begun(session, free.pop(0), beside=len(runs) > 1))
            if not running:
                return
            for one in list(running):
                ending = yield from _next_event(one, tell_trial=len(runs) > 1)
                if ending is None:
                    continue
                running.remove(one)
                free.append(one.run)
                failures = failures + 1 if ending.state == "failed" else 0
                if failures == MOST_FAILURES:
                    raise _too_many(session, one.number, ending)
    finally:
        for one in running:
            one.events.close()


def _next_event(one: _Running, tell_trial: bool) -> Generator[Event, None, Ending | None]:
    """What comes next in a trial, if anything does just now; its ending once it is over."""
    try:
        event = next(one.events)
    except StopIteration as end:
        ending: Ending = end.value
        return ending
    if isinstance(event, Progress) and tell_trial:
        event = replace(event, trial=one.number)
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
