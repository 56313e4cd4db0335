"""Measure the strongest trials again, on fresh noise and with fresh training seeds.

`run_confirm` is a generator of events, as `run_study` is: whoever stops it loses the part that
runs, and the next call goes on with what is not measured yet.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial

from metrics.contract import ScoredSample
from tuner.errors import ConfigError, DivergedError, OutOfMemoryError, TunerError
from tuner.events import Event, RepeatEnded, RepeatStarted
from tuner.results import read_results
from tuner.results.confirmation import candidates, finished, planned_samples
from tuner.results.winner import FEWEST_SAMPLES, REPEATS
from tuner.space import StudyConfig, load_study
from tuner.space.config import BudgetConfig, rung_steps
from tuner.space.train_config import read_yaml
from tuner.storage import Store, StudyFolder, locked
from tuner.storage.fresh_rows import FreshRow, FreshSample, PlanRow
from tuner.storage.rows import RungRow
from tuner.storage.sqlite import write_ahead
from tuner.storage.store import utc_now
from tuner.study.optuna_study import opened
from tuner.study.record import data_hashes, read_data
from tuner.trial import RepeatWork, Rung
from tuner.trial.messages import ExtraScored, Idle, Outcome
from tuner.worker import Worker, repeat_attempts
from tuner.worker.attempts import base_told

RunRepeat = Callable[[RepeatWork], Generator[Outcome, None, None]]
"""What a part of a confirmation does, as its events and its one scored rung."""


class NothingToConfirmError(ConfigError):
    """No trial is complete, keeps its limits and has its LoRA."""


@dataclass(frozen=True)
class Asked:
    """How many of the strongest trials to confirm, on how many fresh samples each, and how often
    each is trained again with another seed."""

    trials: int = 3
    samples: int = FEWEST_SAMPLES
    repeats: int = REPEATS


def run_confirm(folder: StudyFolder, asked: Asked) -> Iterator[Event]:
    """Confirm the strongest trials of the study in `folder`, or go on with it.

    What was measured on as many seeds before is not measured again. Raises NothingToConfirmError
    for a study without a trial to confirm, ConfigError for one whose data changed, StudyBusyError
    while another process runs it, DiskError on a full disk.
    """
    config = load_study(folder.study_yaml)
    if config.recipes:
        raise ConfigError(f"{folder.root} compares recipes and has no winner: `tuner verdicts`")
    data = read_data(config)
    with (
        locked(folder.lock),
        write_ahead(folder.optuna_db, folder.results_db),
        opened(config, folder, data_hashes(data)),
        Store(folder.results_db) as store,
    ):
        plan = planned(store, folder, config, asked)
        store.put_plan(plan)
        if len(finished(plan, store.fresh())) < len(planned_samples(plan)):
            with contextlib.closing(Worker(config, folder, data)) as worker:
                yield from base_told(worker, config, folder, store)
                run = partial(repeat_attempts, worker)
                yield from measure(run, folder, store, plan, config.budget)


def planned(store: Store, folder: StudyFolder, config: StudyConfig, asked: Asked) -> list[PlanRow]:
    """The candidates as they stand now, and those of an earlier plan that are measured.

    All are measured on the same seeds: as many as asked for now, or before, if that were more.
    """
    found = candidates(read_results(folder), asked.trials)
    if not found:
        raise NothingToConfirmError(
            f"no trial of {folder.name} is complete, keeps its limits and has its LoRA: there is "
            "nothing to confirm; run more trials"
        )
    before = {(row.trial, row.step): row for row in store.plan()}
    seeds = max([config.suite.seeds_for(asked.samples), *(row.seeds for row in before.values())])
    plan = []
    for one in found:
        known = before.pop((one.trial, one.step), None)
        repeats = max(asked.repeats, known.repeats if known else 0)
        begun = known.begun if known else utc_now()
        plan.append(PlanRow(one.trial, one.step, repeats, seeds, begun))
    fresh = store.fresh()
    for row in before.values():
        whole = [replace(row, seeds=seeds)]
        if len(finished(whole, fresh)) == len(planned_samples(whole)):
            plan += whole
    return plan


def measure(
    run: RunRepeat,
    folder: StudyFolder,
    store: Store,
    plan: list[PlanRow],
    budget: BudgetConfig,
) -> Iterator[Event]:
    """Do what of the plan is not done yet, a LoRA at a time; each is kept when it is whole."""
    parts, done = planned_samples(plan), finished(plan, store.fresh())
    for place, part in enumerate(parts, 1):
        if part in done:
            continue
        trial, step, repeat = part.trial, part.step, part.repeat
        yield RepeatStarted(trial, step, repeat, place, len(parts))
        began, begun = time.monotonic(), utc_now()
        work = RepeatWork(part, plan[0].seeds, *_training(folder, part, budget))
        row = yield from _measured(run, folder, store, work)
        store.add_phase(trial, "confirm", begun, time.monotonic() - began)
        yield RepeatEnded(trial, step, repeat, row.rung.objectives, row.reason)


def _measured(
    run: RunRepeat, folder: StudyFolder, store: Store, work: RepeatWork
) -> Generator[Event, None, FreshRow]:
    """Have `work` done and keep what was found."""
    trial, step, repeat = work.part.trial, work.part.step, work.part.repeat
    grid = folder.fresh_rung(trial, step, repeat).grid
    row = FreshRow(RungRow(trial, step, {}, {}, None, grid), repeat, work.training_seed, work.seeds)
    scored: list[ScoredSample] = []
    try:
        with contextlib.closing(run(work)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, Rung):
                    row, scored = replace(row, rung=outcome.row(trial, grid)), outcome.scored
                elif not isinstance(outcome, ExtraScored | Idle):
                    yield outcome
    except DivergedError as error:
        if trial is None:
            raise TunerError(f"the base's fresh samples are unusable: {error}") from error
        row = replace(row, reason=f"diverged: {error}")
    except OutOfMemoryError as error:
        raise TunerError(
            f"no memory to confirm trial {trial}: {error}; free some and run the same command "
            "again, it goes on where it was"
        ) from error
    store.put_fresh(row, scored)
    return row


def _training(
    folder: StudyFolder, part: FreshSample, budget: BudgetConfig
) -> tuple[int | None, int]:
    """The training seed of a part, and the steps of its trial."""
    if part.trial is None:
        return None, 0
    config = read_yaml(folder.trial(part.trial).train_yaml)
    # Trials' seeds lie far apart (tuner.space.load), so that these are nobody else's.
    return (config.seed + part.repeat) % 2**63, rung_steps(config, budget)[-1]
