"""Run a study of existing files: sample and score each at each strength, store it, resume.

`run_judged` is a generator of events, as `tuner.study.run_study` is. A file at a strength is a
trial; one that was finished is not sampled again. If it is closed, interrupted with Ctrl-C or
killed, only the running trials are lost, and the same call begins them again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial

from tuner.errors import UnusableFileError
from tuner.events import COUNTED, Event, TrialEnded, TrialStarted
from tuner.judged.files import JudgedFile, keep_file
from tuner.judged.plan import Planned, planned_trials
from tuner.results.judged import FILE, STRENGTH
from tuner.space import StudyConfig
from tuner.storage import Store, StudyFolder, locked, replacing
from tuner.storage.files import sweep, write_text
from tuner.storage.rows import RungRow, TrialRow
from tuner.storage.sqlite import remove_log, write_ahead
from tuner.study.hours import RunClock
from tuner.study.memory.workers import WorkerTable
from tuner.study.one_trial import PhaseClock, guarded, reason_to_stop, scored_event
from tuner.study.record import data_hashes, read_data, record_study, refuse_other
from tuner.study.stopping import Ending, final_ending
from tuner.study.turns import Outcomes, Piece, close_all, give_room, one_turn, take_place
from tuner.trial import Rung
from tuner.trial.messages import BaseNeeded, ExtraScored, Idle, JudgeWork, Outcome
from tuner.worker import Worker, open_workers, repeat_attempts
from tuner.worker.attempts import base_scores
from tuner.worker.nodes.cluster import Cluster, shares
from tuner.worker.worker import Patience

RunFile = Callable[[JudgeWork], Generator[Outcome, None, None]]
"""Samples and scores one file; yields events and one scored rung."""


def run_judged(  # noqa: PLR0913 - files and strengths beside what a run has
    config: StudyConfig,
    folder: StudyFolder,
    files: Sequence[JudgedFile],
    strengths: Sequence[float],
    workers: int = 1,
    patience: Patience | None = None,
    cluster: Cluster | None = None,
) -> Generator[Event, None, None]:
    """Judge `files` at `strengths` in the study of `folder`, or go on where it stopped.

    With `cluster` the workers are on its nodes, up to `workers` of them.

    `config` is that of `tuner.judged.judged_study`. A file that cannot be used is a failed trial,
    and the others go on. Raises ConfigError for a folder that holds another study, StudyBusyError
    while another process runs it, DiskError on a full disk.
    """
    data = read_data(config)
    opened = _opened(config, folder, data_hashes(data), files, strengths, shares(cluster))
    with opened as (store, known, waiting):
        if not waiting:
            return
        clock = RunClock(store)
        config = config.model_copy(
            update={"budget": config.budget.model_copy(update={"trials": known})}
        )
        with (
            open_workers(config, folder, data, workers, patience, cluster) as pool,
            contextlib.closing(WorkerTable(folder, pool)) as table,
        ):
            pool[0].claim()  # the others wait for its results
            base = Piece(0, base_scores(pool[0], config, folder, store), None)
            begin = partial(_judged, config, folder, store)
            yield from _all(begin, waiting, pool, base, clock, table)


@contextlib.contextmanager
def _opened(
    config: StudyConfig,
    folder: StudyFolder,
    hashes: Mapping[str, str],
    files: Sequence[JudgedFile],
    strengths: Sequence[float],
    shared: bool,
) -> Iterator[tuple[Store, int, list[Planned]]]:
    """Hold the study's lock and open results.db; yield it, the number of trials, those to do.

    With `shared` other machines read the same database.
    """
    folder.create()
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(folder.lock))
        for place in (folder.base, folder.trials, folder.kept, folder.confirm):
            sweep(place)
        rows: Sequence[TrialRow] = ()
        if folder.exists():
            with Store(folder.results_db) as store:
                study, rows = store.study(), store.trials()
            if study is not None:
                refuse_other(study, config, folder, hashes)
        as_base = config.judged is not None and config.judged.as_base
        plan = planned_trials(rows, files, strengths, as_base)
        total = len({row.number for row in rows} | {each.number for each in plan})
        config = config.model_copy(
            update={"budget": config.budget.model_copy(update={"trials": total})}
        )
        if not folder.exists():
            remove_log(folder.results_db)
            with replacing(folder.results_db) as part, Store(part) as store:
                record_study(config, folder, store, hashes)
        if not shared:
            stack.enter_context(write_ahead(folder.results_db))
        store = stack.enter_context(Store(folder.results_db))
        record_study(config, folder, store, hashes)
        states = {row.number: row.state for row in rows}
        for number, state in states.items():
            if state == "running":  # its process was killed
                store.end_trial(number, "interrupted", "stopped")
        yield store, total, [each for each in plan if states.get(each.number) not in COUNTED]


def _all(
    begin: Callable[[Planned, RunFile], Outcomes],
    waiting: Sequence[Planned],
    pool: Sequence[Worker],
    base: Piece,
    clock: RunClock,
    table: WorkerTable,
) -> Generator[Event, None, None]:
    """Judge one trial at a time with each worker of `pool`; the first does `base` before."""
    running, left = [base], list(waiting)
    free = [place for place in range(len(pool)) if place != base.place]
    try:
        while running or left:
            give_room(free, pool)
            while left and free:
                place = take_place(free, pool, waits=not running)
                if place is None:
                    break
                each, run = left.pop(0), partial(repeat_attempts, pool[place])
                running.append(Piece(place, begin(each, run), each.number))
            busy = len(running)
            free += [piece.place for piece in (yield from one_turn(running, table))]
            clock.tick(busy)
    except BaseException:
        close_all(running)
        raise
    finally:
        clock.close()


def _judged(
    config: StudyConfig,
    folder: StudyFolder,
    store: Store,
    planned: Planned,
    run: RunFile,
) -> Outcomes:
    """Judge one trial to its end and store it; one that is stopped is begun again later."""
    number, began = planned.number, time.monotonic()
    try:
        store.begin_trial(number, planned.parameters)
        shown = {FILE: planned.file.name, STRENGTH: planned.strength}
        yield TrialStarted(number, shown)
        try:
            path = keep_file(planned.file, folder)
        except UnusableFileError as error:
            ending = Ending("failed", str(error))
        else:
            step = planned.file.step or 0
            work = JudgeWork(number, path, planned.strength, step, planned.as_base)
            ending = yield from _followed(config, folder, store, run(work), number)
    except BaseException as error:
        with contextlib.suppress(Exception):  # the original error is the one to show
            store.end_trial(number, "interrupted", reason_to_stop(error))
        raise
    if ending.trace:
        write_text(folder.trial(number).failure, ending.trace)
    store.end_trial(number, ending.state, ending.reason, time.monotonic() - began)
    if ending.state != "failed":
        write_text(folder.trial(number).done, f"{ending.state}\n")
    yield TrialEnded(number, ending.state, ending.reason)
    return ending


def _followed(
    config: StudyConfig,
    folder: StudyFolder,
    store: Store,
    outcomes: Generator[Outcome, None, None],
    number: int,
) -> Generator[Event | Idle | BaseNeeded, None, Ending]:
    """Pass a trial's events on and store its rung; return how it ended."""
    last: RungRow | None = None
    failure: str | None = None
    with (
        contextlib.closing(PhaseClock(store)) as clock,
        contextlib.closing(guarded(outcomes)) as watched,
    ):
        for outcome in watched:
            match outcome:
                case Ending():
                    return outcome
                case ExtraScored():
                    continue
                case Rung():
                    grid = folder.trial(number).rung(outcome.step).grid
                    last, failure = outcome.row(number, grid), outcome.failure
                    with store.together():
                        store.put_rung(last, outcome.scored)
                        if outcome.device is not None:
                            store.put_device(number, outcome.device)
                        clock.end()
                    yield scored_event(last)
                case _:
                    clock.note(outcome)
                    yield outcome
    if last is None:
        return Ending("failed", "the file gave no pictures")
    return Ending("pruned", failure) if failure else final_ending(config, last)
