"""Measure the strongest trials again, on fresh noise and with fresh training seeds.

`run_confirm` is a generator of events, as `run_study` is: whoever stops it loses the part that
runs, and the next call goes on with what is not measured yet.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import metrics
from metrics.contract import Sample, ScoredSample
from tuner.config import StudyConfig, TrainConfig
from tuner.confirmed import BASE, Job, candidates, finished, jobs, unseen
from tuner.errors import ConfigError, TunerError
from tuner.events import Event, Phase, RepeatEnded, RepeatStarted
from tuner.fresh import fresh_suite, seeds_for
from tuner.fresh_rows import FreshRow, PlanRow
from tuner.keep import keep
from tuner.optuna_study import opened
from tuner.process import locked
from tuner.results_table import read_results
from tuner.rows import RungRow
from tuner.sample import sample
from tuner.space import load_study
from tuner.store import Store, utc_now
from tuner.study_folder import RungFolder, StudyFolder, TrialFolder, write_text
from tuner.train import Checkpoint, DivergedError, train
from tuner.trial import (
    OutOfMemoryError,
    Workbench,
    look_at,
    naming_memory_errors,
    read_yaml,
    to_yaml,
)
from tuner.winner import FEWEST_SAMPLES, REPEATS
from tuner.workbench import data_hashes, open_bench, read_data


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
    data = read_data(config)
    with (
        locked(folder.lock),
        opened(config, folder, data_hashes(data)),
        Store(folder.results_db) as store,
    ):
        plan = planned(store, folder, config, asked)
        store.put_plan(plan)
        if len(finished(plan, store.fresh())) < len(jobs(plan)):
            with contextlib.ExitStack() as models:
                bench = yield from open_bench(config, folder, store, data, models)
                yield from measure(bench, folder, store, plan, config.budget.rungs[-1])


def planned(store: Store, folder: StudyFolder, config: StudyConfig, asked: Asked) -> list[PlanRow]:
    """The candidates as they stand now, and those of an earlier plan that are measured.

    All are measured on the same seeds: as many as asked for now, or before, if that were more.
    """
    found = candidates(store, read_results(folder), asked.trials)
    if not found:
        raise NothingToConfirmError(
            f"no trial of {folder.name} is complete, keeps its limits and has its LoRA: there is "
            "nothing to confirm; run more trials"
        )
    before = {(row.trial, row.step): row for row in store.plan()}
    seeds = max([seeds_for(config.suite, asked.samples), *(row.seeds for row in before.values())])
    plan = []
    for one in found:
        known = before.pop((one.trial, one.step), None)
        repeats = max(asked.repeats, known.repeats if known else 0)
        begun = known.begun if known else utc_now()
        plan.append(PlanRow(one.trial, one.step, repeats, seeds, begun))
    fresh = store.fresh()
    for row in before.values():
        whole = [replace(row, seeds=seeds)]
        if len(finished(whole, fresh)) == len(jobs(whole)):
            plan += whole
    return plan


def measure(
    bench: Workbench, folder: StudyFolder, store: Store, plan: list[PlanRow], steps: int
) -> Iterator[Event]:
    """Do what of the plan is not done yet, a LoRA at a time; each is kept when it is whole.

    `steps` is how long a trial of the study is, by which schedules and stages go.
    """
    bench = replace(bench, suite=fresh_suite(bench.suite, plan[0].seeds), base_scored=None)
    asked, done = jobs(plan), finished(plan, store.fresh())
    for place, job in enumerate(asked, 1):
        if job in done:
            continue
        trial, step, repeat = job
        yield RepeatStarted(trial, step, repeat, place, len(asked))
        began, begun = time.monotonic(), utc_now()
        if job != BASE and bench.base_scored is None:
            bench = replace(bench, base_scored=unseen(store.fresh_samples(*BASE)))
        row = yield from _measured(bench, folder, store, job, steps)
        store.add_phase(trial, "confirm", begun, time.monotonic() - began)
        yield RepeatEnded(trial, step, repeat, row.rung.objectives, row.reason)


def _measured(
    bench: Workbench, folder: StudyFolder, store: Store, job: Job, steps: int
) -> Generator[Event, None, FreshRow]:
    """Train the LoRA of `job` where it needs it, sample and score it, and keep what was found."""
    trial, step, repeat = job
    rung = _rung_folder(folder, job)
    seed, lora, seeds = None, None, bench.suite.seeds
    try:
        if trial is not None:
            seed, lora = yield from _lora(bench, folder, job, steps)
        scored = yield from _scored(bench, trial, lora, rung)
    except DivergedError as error:
        if trial is None:
            raise TunerError(f"the base's fresh samples are unusable: {error}") from error
        nothing = RungRow(trial, step, {}, {}, None, rung.grid)
        row = FreshRow(nothing, repeat, seed, seeds, f"diverged: {error}")
        store.put_fresh(row, [])
        return row
    except OutOfMemoryError as error:
        raise TunerError(
            f"no memory to confirm trial {trial}: {error}; free some and run the same command "
            "again, it goes on where it was"
        ) from error
    found = look_at(bench, scored, scored if trial is None else bench.base_scored)
    told = RungRow(trial, step, found.objectives, found.rates, lora, rung.grid, found.measures)
    row = FreshRow(told, repeat, seed, seeds)
    store.put_fresh(row, scored)
    return row


def _rung_folder(folder: StudyFolder, job: Job) -> RungFolder:
    trial, step, repeat = job
    if trial is None:
        return RungFolder(folder.fresh_base)
    return folder.repeat(trial, step, repeat).rung(step)


def _lora(
    bench: Workbench, folder: StudyFolder, job: Job, steps: int
) -> Generator[Event, None, tuple[int, Path]]:
    """The training seed and the file: the trial's own, or one of a training with another seed."""
    trial, step, repeat = job
    assert trial is not None
    config = read_yaml(folder.trial(trial).train_yaml)
    if repeat == 0:
        return config.seed, folder.trial(trial).rung(step).trained(config.method)
    # Trials' seeds lie far apart (tuner.space), so that these are nobody else's.
    again = config.model_copy(update={"seed": (config.seed + repeat) % 2**63})
    into = folder.repeat(trial, step, repeat)
    yield from _trained(bench, job, again, into, steps)
    return again.seed, into.rung(step).trained(config.method)


def _trained(
    bench: Workbench, job: Job, config: TrainConfig, into: TrialFolder, steps: int
) -> Iterator[Event]:
    """Train, unless the same training's file is there: a file is written whole or not at all."""
    trial, step, _ = job
    text, known = to_yaml(config), into.train_yaml
    file = into.rung(step).trained(config.method)
    if file.is_file() and known.is_file() and known.read_text("utf-8") == text:
        return
    file.unlink(missing_ok=True)
    write_text(known, text)
    yield Phase("train", trial)
    training_set, rungs = bench.training_sets[config.data], sorted({step, steps})
    with (
        naming_memory_errors(),
        contextlib.closing(train(bench.base, training_set, [config], rungs, [into.root])) as run,
    ):
        for outcome in run:
            if isinstance(outcome, Checkpoint):
                return  # at `step`, as far into its schedule and stages as the trial was
            yield outcome


def _scored(
    bench: Workbench, trial: int | None, lora: Path | None, folder: RungFolder
) -> Generator[Event, None, list[ScoredSample]]:
    yield Phase("sample", trial)
    samples: list[Sample] = []
    with (
        naming_memory_errors(),
        contextlib.closing(sample(bench.base, bench.suite, lora, folder)) as outcomes,
    ):
        for outcome in outcomes:
            if isinstance(outcome, list):
                samples = outcome
            else:
                yield outcome
    yield Phase("score", trial)
    return keep(metrics.score(samples, bench.judges), folder, bench.base.name)
