"""Run a study: draw parameters, run trials, store what they measured, report to Optuna, resume.

`run_study` is a generator of events. If it is closed, interrupted with Ctrl-C or killed, only the
running trials are lost, and their parameters are queued again. Worker processes own the devices
(`tuner.worker.worker`); this process draws parameters, decides and stores.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial

from tuner.errors import TooManyFailuresError
from tuner.events import Event, TrialEnded, TrialState
from tuner.space import StudyConfig, TrainConfig
from tuner.space.config import rung_steps
from tuner.storage import StudyFolder
from tuner.storage.address import Address
from tuner.storage.files import sweep
from tuner.storage.fresh_rows import BASE
from tuner.study.begin import open_session
from tuner.study.confirm import ConfirmOptions, NothingToConfirmError, fresh_base, measure, planned
from tuner.study.hours import RunClock, no_time_left
from tuner.study.memory.mirror import write_late
from tuner.study.memory.workers import WorkerTable
from tuner.study.one_trial import Session, one_trial
from tuner.study.optuna_study import begin, ended, reasons, remaining, settle_dead
from tuner.study.record import data_hashes, read_data
from tuner.study.turns import Outcomes, Piece, close_all, give_room, one_turn, take_place
from tuner.trial.messages import Outcome
from tuner.worker import Worker, open_workers, repeat_attempts, trial_attempts
from tuner.worker.attempts import base_scores
from tuner.worker.nodes.cluster import Cluster, shares
from tuner.worker.worker import Patience

RunTrial = Callable[[int, TrainConfig], Iterator[Outcome]]
"""Runs trial `number` with `config`; yields its outcomes."""

MOST_FAILURES = 3
"""The study stops after this many failures in a row for a reason outside the parameters."""


def run_study(  # noqa: PLR0913 - what is run, and where
    config: StudyConfig,
    folder: StudyFolder,
    patience: Patience | None = None,
    workers: int = 1,
    confirm: ConfirmOptions | None = None,
    server: Address | None = None,
    cluster: Cluster | None = None,
) -> Generator[Event, None, None]:
    """Run or resume the study in `folder` until `config.budget.trials` trials are finished.

    `patience` limits how long a worker may be silent; each of `workers` runs a trial of its own.
    With `confirm` the same workers then confirm the strongest trials, if there are any. `server`
    keeps Optuna's study in place of optuna.db (tuner.space.server.choose_storage). With `cluster`
    the workers are on its nodes, up to `workers` of them. Raises
    ConfigError when the folder holds another study or lost a part of this one, StudyBusyError while
    another process runs it, TooManyFailuresError after three failures in a row, DiskError on a full
    disk.
    """
    data = read_data(config)
    with (
        open_session(config, folder, data_hashes(data), server, shared=shares(cluster)) as session,
        open_workers(config, folder, data, workers, patience, cluster) as pool,
        contextlib.closing(WorkerTable(folder, pool)) as table,
    ):
        yield from take_up(session)
        store, clock = session.store, RunClock(session.store)
        repeats = [partial(repeat_attempts, worker) for worker in pool]
        pool[0].claim()  # the others wait for its results
        running = [Piece(0, base_scores(pool[0], config, folder, store), None)]
        if _goes_on(session, clock, running=0):
            runs = [partial(trial_attempts, worker, config.budget) for worker in pool]
            early = [fresh_base(run, folder, store, config, confirm) for run in repeats if confirm]
            running = yield from search(
                session,
                *runs,
                base=running[0].outcomes,
                early=early,
                clock=clock,
                pool=pool,
                table=table,
            )
        if confirm:
            with contextlib.suppress(NothingToConfirmError):
                plan = planned(store, folder, config, confirm)
                store.put_plan(plan)
                yield from measure(
                    repeats, folder, plan, config.budget, clock, running, pool, table
                )
        close_all(running)


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


def search(
    session: Session,
    *runs: RunTrial,
    base: Outcomes | None = None,
    early: Sequence[Outcomes] = (),
    clock: RunClock | None = None,
    pool: Sequence[Worker] = (),
    table: WorkerTable | None = None,
) -> Generator[Event, None, list[Piece]]:
    """Run trials until the budget is spent, one trial at a time with each of `runs`.

    `pool` has the workers of `runs`, of which those are used that have room; empty: all.

    The first of `runs` does `base` before: the others train meanwhile, and wait before they score.
    The first that has no trial left does its part of `early`, work on the base; if that is not over
    with the last trial, it is returned. `clock` measures the run; None: it begins now. `table`
    shows what the workers do.
    """
    gc.freeze()  # else Python looks at all objects of the libraries again every few trials
    clock = clock or RunClock(session.store)
    failures, free, spare, more = 0, list(range(len(runs))), list(early), True
    first = Piece(free.pop(0), base, None) if base is not None else None
    running = [first] if first else []
    try:
        while True:
            give_room(free, pool)
            # Asked once for each place: the answer changes when a piece ends.
            while free and more and (more := _goes_on(session, clock, _trials(running))):
                place = take_place(free, pool, waits=not running)
                if place is None:
                    break
                running.append(_begun(session, place, runs[place], beside=len(runs) > 1))
            if free and spare and (at := take_place(free, pool, waits=False)) is not None:
                running.append(Piece(at, spare[at], None, BASE))
                spare = []
            if all(piece.trial is None and piece is not first for piece in running):
                return running
            busy = len(running)
            for piece in (yield from one_turn(running, table)):
                free.append(piece.place)
                more = True
                failures = _failures_in_a_row(session, piece, failures)
            write_late(session.memory._storage)
            clock.tick(busy)
    except BaseException:
        close_all(running)
        raise
    finally:
        clock.close()


def _failures_in_a_row(session: Session, piece: Piece, before: int) -> int:
    """Return the failures after `piece`, which ended; raise TooManyFailuresError if too many."""
    if piece.trial is None or piece.ending is None:  # work on the base
        return before
    failures = before + 1 if piece.ending.state == "failed" else 0
    if failures == MOST_FAILURES:
        failure = session.folder.trial(piece.trial).failure
        see = f"; see {failure}" if failure.is_file() else ""
        raise TooManyFailuresError(
            f"{MOST_FAILURES} trials in a row failed, the last with: {piece.ending.reason}{see}"
        )
    return failures


def _trials(running: Sequence[Piece]) -> int:
    return sum(piece.trial is not None for piece in running)


def _goes_on(session: Session, clock: RunClock, running: int) -> bool:
    """Return True if the budget has another trial beside the `running` ones; note why it has none.

    Once there is no time for another trial, none is begun in this run.
    """
    if remaining(session.memory, session.config.budget.trials) <= running or clock.over:
        return False
    clock.end(no_time_left(session.config, session.store, clock.row, running))
    return not clock.over


def _begun(session: Session, place: int, run: RunTrial, beside: bool) -> Piece:
    trial, train = begin(session.memory, session.config, beside)
    last_step = rung_steps(train, session.config.budget)[-1]
    outcomes = one_trial(session, trial, run(trial.number, train), last_step)
    return Piece(place, outcomes, trial.number)
