"""Measure the strongest trials again, on fresh noise and with fresh training seeds.

`run_confirm` is a generator of events, like `run_study`. If it is stopped, the LoRAs that are being
measured are lost, and the next call continues with them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from metrics.contract import ScoredSample
from tuner.errors import ConfigError, DivergedError, OutOfMemoryError, TunerError
from tuner.events import Event, RepeatEnded, RepeatStarted
from tuner.results import read_results
from tuner.results.confirmation import candidates, finished, part_count, planned_samples
from tuner.results.judged import trial_file
from tuner.results.winner import FEWEST_SAMPLES, REPEATS
from tuner.space import StudyConfig
from tuner.space.config import BudgetConfig, rung_steps
from tuner.space.load import load_recorded
from tuner.space.train_config import read_yaml
from tuner.storage import Store, StudyFolder, locked
from tuner.storage.columns import utc_now
from tuner.storage.fresh_rows import BASE, FreshRow, FreshSample, PlanRow
from tuner.storage.rows import RungRow
from tuner.storage.sqlite import write_ahead
from tuner.study.hours import RunClock
from tuner.study.memory.workers import WorkerTable
from tuner.study.record import data_hashes, read_data, refuse_other
from tuner.study.turns import Outcomes, Piece, close_all, give_room, one_turn, take_place
from tuner.trial import RepeatWork, Rung
from tuner.trial.messages import BaseNeeded, ExtraScored, Idle, JudgeWork, Outcome
from tuner.worker import Worker, open_workers, repeat_attempts
from tuner.worker.attempts import base_scores
from tuner.worker.nodes.cluster import Cluster, shares

RunRepeat = Callable[[RepeatWork], Generator[Outcome, None, None]]
"""Measures one LoRA of a confirmation; yields events and one scored rung."""


class NothingToConfirmError(ConfigError):
    """There is no trial that is complete, keeps its limits and has its LoRA file."""


@dataclass(frozen=True)
class ConfirmOptions:
    """Size of a confirmation: the number of strongest trials, fresh samples of each, and trainings
    of each with other seeds.

    `base` and `data` name the places of a base and of pictures that were moved (load_recorded).
    """

    trials: int = 3
    samples: int = FEWEST_SAMPLES
    repeats: int = REPEATS
    base: str | None = None
    data: Sequence[str] = ()


def run_confirm(
    folder: StudyFolder,
    options: ConfirmOptions,
    workers: int = 1,
    cluster: Cluster | None = None,
) -> Generator[Event, None, None]:
    """Confirm the strongest trials of the study in `folder`, or continue a confirmation.

    Each of `workers` measures a LoRA at a time; the results are the same with any number of them,
    and on the nodes of `cluster`. A LoRA that was measured on as many seeds before is not measured
    again. Raises NothingToConfirmError for a study without a trial to confirm, ConfigError for one
    whose data changed, StudyBusyError while another process runs it, DiskError on a full disk.
    """
    config = load_recorded(folder, base=options.base, data=options.data, needs=("base", "data"))
    if config.recipes:
        raise ConfigError(f"{folder.root} compares recipes and has no winner: `tuner verdicts`")
    if config.judged is not None:
        options = replace(options, repeats=0)  # nothing was trained here
    data = read_data(config)
    with (
        locked(folder.lock),
        contextlib.nullcontext() if shares(cluster) else write_ahead(folder.results_db),
        Store(folder.results_db) as store,
    ):
        if row := store.study():
            refuse_other(row, config, folder, data_hashes(data))
        plan = planned(store, folder, config, options)
        store.put_plan(plan)
        clock = RunClock(store)
        with open_workers(config, folder, data, workers, cluster=cluster) as pool:
            pool[0].claim()
            base = Piece(0, base_scores(pool[0], config, folder, store), None)
            runs = [partial(repeat_attempts, worker) for worker in pool]
            with contextlib.closing(WorkerTable(folder, pool)) as table:
                yield from measure(runs, folder, plan, config.budget, clock, [base], pool, table)


def planned(
    store: Store, folder: StudyFolder, config: StudyConfig, options: ConfirmOptions
) -> list[PlanRow]:
    """Return the present candidates, and those of an earlier plan that are measured completely.

    All are measured on the same seeds: as many as requested now or in an earlier plan, whichever
    is more. Raises NothingToConfirmError if there is no candidate.
    """
    strongest = candidates(read_results(folder), options.trials)
    if not strongest:
        raise NothingToConfirmError(
            f"no trial of {folder.name} is complete, keeps its limits and has its LoRA: there is "
            "nothing to confirm; run more trials"
        )
    before = {(row.trial, row.step): row for row in store.plan()}
    seeds, plan = _seeds(store, config, options), []
    for candidate in strongest:
        known = before.pop((candidate.trial, candidate.step), None)
        repeats = max(options.repeats, known.repeats if known else 0)
        begun = known.begun if known else utc_now()
        plan.append(PlanRow(candidate.trial, candidate.step, repeats, seeds, begun))
    fresh = store.fresh()
    for row in before.values():
        complete = [replace(row, seeds=seeds)]
        if len(finished(complete, fresh)) == len(planned_samples(complete)):
            plan += complete
    return plan


def fresh_base(
    run: RunRepeat,
    folder: StudyFolder,
    store: Store,
    config: StudyConfig,
    options: ConfirmOptions,
) -> Outcomes:
    """Measure the base on fresh noise, unless it is measured: it does not depend on the trials."""
    seeds = _seeds(store, config, options)
    if any(row.sampled == BASE and row.seeds == seeds for row in store.fresh()):
        return None
    place = (1, part_count(options.trials, options.repeats))
    return (yield from _part(run, folder, store, RepeatWork(BASE, seeds, None, 0), place))


def measure(  # noqa: PLR0913 - what is measured, where, and when
    runs: Sequence[RunRepeat],
    folder: StudyFolder,
    plan: list[PlanRow],
    budget: BudgetConfig,
    clock: RunClock,
    running: Sequence[Piece] = (),
    pool: Sequence[Worker] = (),
    table: WorkerTable | None = None,
) -> Generator[Event, None, None]:
    """Measure the LoRAs of the plan that are not measured yet, and store each when it is done.

    One LoRA at a time with each of `runs`, begun in the order of the plan. `running` is work on the
    base that began before, which LoRAs wait for. `pool` has the workers of `runs` (empty: all have
    room), `table` shows what they do. `clock` measures the time, into its results.db.
    """
    store = clock.store
    parts, done = planned_samples(plan), finished(plan, store.fresh())
    if len(done) == len(parts):
        return
    begun = list(running)
    known = {*done, *(piece.part for piece in begun)}
    waiting = [(number, part) for number, part in enumerate(parts, 1) if part not in known]
    taken = {piece.place for piece in begun}
    free = [place for place in range(len(runs)) if place not in taken]
    try:
        while waiting or begun:
            give_room(free, pool)
            while waiting and free:
                place = take_place(free, pool, waits=not begun)
                if place is None:
                    break
                number, part = waiting.pop(0)
                work = _work(store, folder, part, plan[0].seeds, budget)
                outcomes = _part(runs[place], folder, store, work, (number, len(parts)))
                begun.append(Piece(place, outcomes, part.trial, part))
            busy = len(begun)
            free += [piece.place for piece in (yield from one_turn(begun, table))]
            clock.tick(busy)
    finally:
        clock.close()
        close_all(begun)


def _part(
    run: RunRepeat, folder: StudyFolder, store: Store, work: RepeatWork, place: tuple[int, int]
) -> Outcomes:
    """Measure one LoRA and store it; `place` is its number among the parts, and theirs."""
    trial, step, repeat = work.part.trial, work.part.step, work.part.repeat
    yield RepeatStarted(trial, step, repeat, *place)
    began, begun = time.monotonic(), utc_now()
    row = yield from _measured(run, folder, store, work)
    store.add_phase(trial, "confirm", begun, time.monotonic() - began)
    yield RepeatEnded(trial, step, repeat, row.rung.objectives, row.reason)
    return None


def _seeds(store: Store, config: StudyConfig, options: ConfirmOptions) -> int:
    return max([config.suite.seeds_for(options.samples), *(row.seeds for row in store.plan())])


def _measured(
    run: RunRepeat, folder: StudyFolder, store: Store, work: RepeatWork
) -> Generator[Event | Idle | BaseNeeded, None, FreshRow]:
    """Do `work` and store its samples and scores."""
    trial, step, repeat = work.part.trial, work.part.step, work.part.repeat
    grid = folder.fresh_rung(trial, step, repeat).grid
    row = FreshRow(RungRow(trial, step, {}, {}, None, grid), repeat, work.training_seed, work.seeds)
    scored: Sequence[ScoredSample] = []
    try:
        with contextlib.closing(run(work)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, Rung):
                    row, scored = replace(row, rung=outcome.row(trial, grid)), outcome.scored
                elif not isinstance(outcome, ExtraScored):
                    yield outcome
    except DivergedError as error:
        if trial is None:
            raise TunerError(f"the base's fresh samples are unusable: {error}") from error
        row = replace(row, reason=f"diverged: {error}")
    except OutOfMemoryError as error:
        raise TunerError(
            f"not enough memory to confirm trial {trial}: {error}; free some and run the same "
            "command again, it continues where it stopped"
        ) from error
    store.put_fresh(row, scored)
    return row


def _work(
    store: Store, folder: StudyFolder, part: FreshSample, seeds: int, budget: BudgetConfig
) -> RepeatWork:
    """Return the work on a part: a trial is trained again, a file that existed is only sampled."""
    files = {row.number: file for row in store.trials() if (file := trial_file(row)) is not None}
    if part.trial is None or part.trial not in files:
        return RepeatWork(part, seeds, *_training(folder, part, budget))
    file = files[part.trial]
    paths = [rung.lora for rung in store.rungs(part.trial) if rung.step == part.step]
    assert paths[0] is not None
    judged = JudgeWork(part.trial, paths[0], file.strength, part.step, file.as_base)
    return RepeatWork(part, seeds, None, 0, judged)


def _training(
    folder: StudyFolder, part: FreshSample, budget: BudgetConfig
) -> tuple[int | None, int]:
    """Return the training seed of a part (None for the base) and the steps of its trial."""
    if part.trial is None:
        return None, 0
    config = read_yaml(folder.trial(part.trial).train_yaml)
    # The seeds of two trials are far apart (tuner.study.samplers), so no other trial has this one.
    return (config.seed + part.repeat) % 2**63, rung_steps(config, budget)[-1]
