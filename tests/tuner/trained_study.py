"""A small study that was really trained and sampled, for what comes after a study.

The judges' word is the picture's brightness, as they have tests of their own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image

from metrics.contract import JudgeSettings, Objective, Prompt, Sample, Score, ScoredSample
from metrics.detectors import Detectors
from metrics.scoring import JUDGES
from tuner.data import TrainingSet
from tuner.events import Event, RepeatEnded
from tuner.models import BaseModel
from tuner.space import StudyConfig, SuiteConfig, TrainConfig
from tuner.space.config import BudgetConfig
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import RungFolder
from tuner.storage.fresh_rows import BASE, FreshSample, PlanRow
from tuner.storage.rows import RungRow
from tuner.study.confirm import ConfirmOptions, measure, planned
from tuner.study.hours import RunClock
from tuner.study.record import record_study
from tuner.trial import Rung, Workbench, run_trial
from tuner.trial.repeat import run_repeat
from tuner.trial.setup import base_scored

SUITE = SuiteConfig(
    prompts=(Prompt("1girl", "female"), Prompt("1boy", "male")), seeds=2, size=64, steps=1
)


ASKED = ConfirmOptions(trials=2, samples=6, repeats=1)
BUDGET = BudgetConfig(trials=2, rungs=(1, 2))
PLAN = [
    BASE,
    *(FreshSample(trial, 2, repeat) for trial, repeat in ((1, 0), (1, 1), (0, 0), (0, 1))),
]


def small_config(base: Path) -> StudyConfig:
    """A study of two trials of two rungs."""
    return StudyConfig(
        study="small",
        base=str(base),
        data=str(base),
        budget=BUDGET,
        objectives=("pose", "quality"),
        constraints={"undressed_rate": 1.0},
        suite=SUITE,
    )


def bench_of(base: BaseModel, training_set: TrainingSet) -> Workbench:
    """The bench of that study, before its base is scored."""
    judges, names = Detectors(JudgeSettings(domain="drawn")), ("pose", "quality")
    # The loss is measured on each picture: four say it as twelve do.
    few = replace(training_set, images=training_set.images[:4])
    return Workbench(base, {None: few}, SUITE, judges, objectives=names)


def by_brightness(samples: Sequence[Sample], detectors: Detectors) -> list[ScoredSample]:
    """Every judge's word is the picture's brightness: the judges have tests of their own."""
    return [
        ScoredSample(
            sample,
            {judge.name: Score(judge.name, float(sample.image.mean()) / 255) for judge in JUDGES},
        )
        for sample in samples
    ]


def keep_base(bench: Workbench, folder: StudyFolder, store: Store) -> None:
    """The base, sampled, scored and kept as a study's process keeps it."""
    for outcome in base_scored(bench, folder):
        if isinstance(outcome, Rung):
            store.put_rung(outcome.row(None, RungFolder(folder.base).grid), outcome.scored)


def train_study(
    config: StudyConfig, bench: Workbench, parent: Path, **settings: object
) -> StudyFolder:
    """A study of two complete trials of two rungs in `parent`, really trained with `settings`."""
    folder = StudyFolder(parent / "small")
    folder.create()
    with Store(folder.results_db) as store:
        record_study(config, folder, store, {"data": "abc"})
        keep_base(bench, folder, store)
        for number in (0, 1):
            store.begin_trial(number, {"rank": 2})
            same = {"rank": 2, "batch_size": 2, "resolution": 32, "learning_rate": 3e-2}
            train = TrainConfig.model_validate({**same, "seed": 1000 * number, **settings})
            for rung in run_trial(bench, number, train, (1, 2), folder.trial(number)):
                if isinstance(rung, Rung):
                    # The later rung and the later trial are the stronger ones.
                    low = 0.1 * (1 + number + rung.step)
                    store.put_rung(as_strong(folder, number, rung, low), rung.scored)
            store.end_trial(number, "complete")
    return folder


def as_strong(folder: StudyFolder, number: int, rung: Rung | RungRow, low: float) -> RungRow:
    """The rung's row, its objectives' lower bounds set."""
    objectives = {name: Objective(name, 0.9, low, 1.0, 4, 4) for name in rung.objectives}
    grid = folder.trial(number).rung(rung.step).grid
    return RungRow(number, rung.step, objectives, rung.rates, rung.lora, grid)


def begun(store: Store, folder: StudyFolder, config: StudyConfig) -> list[PlanRow]:
    plan = planned(store, folder, config, ASKED)
    store.put_plan(plan)
    return plan


def parts(events: list[Event]) -> list[FreshSample]:
    return [FreshSample(e.trial, e.step, e.repeat) for e in events if isinstance(e, RepeatEnded)]


def confirming(
    bench: Workbench, folder: StudyFolder, store: Store, plan: list[PlanRow]
) -> Generator[Event, None, None]:
    """The confirmation on this process's own bench, without a worker."""
    yield from measure([partial(run_repeat, bench, folder)], folder, plan, BUDGET, RunClock(store))


def pixels(scored: ScoredSample) -> np.ndarray:
    """The picture of a sample that lies on the disk."""
    assert scored.sample.path is not None
    with PIL.Image.open(scored.sample.path) as picture:
        return np.asarray(picture.convert("RGB"))
