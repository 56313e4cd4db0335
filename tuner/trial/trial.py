"""Train, sample, score: the whole product on one screen."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import metrics
from metrics.contract import Measure, Sample
from tuner.events import Event, Phase, Progress
from tuner.models.memory_errors import naming_memory_errors
from tuner.models.sampling import drawn
from tuner.space import TrainConfig
from tuner.space.train_config import to_yaml
from tuner.storage.files import write_text
from tuner.storage.folder import RungFolder, TrialFolder
from tuner.storage.rows import without_pixels
from tuner.training import Checkpoint, loss_measures, train
from tuner.trial.alias_leak import has_alias, leak_measures
from tuner.trial.collapse import hard_failure
from tuner.trial.keep import keep
from tuner.trial.outcomes import Rung
from tuner.trial.workbench import Workbench, copy_measures, ground_of, look_at

if TYPE_CHECKING:
    pass


def run_trial(
    bench: Workbench,
    number: int,
    config: TrainConfig,
    rungs: Sequence[int],
    folder: TrialFolder,
    trained: TrialFolder | None = None,
) -> Generator[Event | Rung, None, None]:
    """Train a run of `config`, and sample and score it at each of `rungs` (optimizer steps).

    Where another trial trained the same before, `trained` is its folder, and its files are taken.

    The last rung has the whole suite, those below it as many of its seeds as the bench says.
    Yields what happens, and a Rung for each checkpoint; telling and keeping what it measured is
    the reader's part, and so is the file `done`. Raises DivergedError for a trial whose numbers
    are no longer finite, OutOfMemoryError for one that does not fit.
    """
    write_text(folder.train_yaml, to_yaml(config))
    training_set = bench.training_sets[config.data]
    with naming_memory_errors():
        yield Phase("train", number)
        steps: Generator[Progress | Checkpoint, None, None]
        if trained is None:
            steps = train(bench.base, training_set, [config], rungs, [folder.root])
        else:
            steps = _copied(config, rungs, trained, folder)
        with closing(steps):
            for outcome in steps:
                if isinstance(outcome, Progress):
                    yield outcome
                else:
                    low = outcome.step != rungs[-1]
                    seeds = bench.low_rung_seeds if low else None
                    files = folder.rung(outcome.step)
                    yield from _scored(bench, number, config, outcome.step, files, seeds)
                    if low:
                        yield Phase("train", number)


def _copied(
    config: TrainConfig, rungs: Sequence[int], trained: TrialFolder, folder: TrialFolder
) -> Generator[Checkpoint, None, None]:
    for step in rungs:
        path = folder.rung(step).trained(config.method)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(trained.rung(step).trained(config.method), path)
        yield Checkpoint(step, (path,), ())


def _scored(
    bench: Workbench,
    number: int,
    config: TrainConfig,
    step: int,
    folder: RungFolder,
    seeds: int | None,
) -> Iterator[Event | Rung]:
    yield Phase("sample", number)
    trained = folder.trained(config.method)
    samples = yield from drawn(bench.base, bench.suite, trained, folder, seeds)
    bench = _with_seeds(bench, seeds)
    measured = _alias_leak(bench, config, trained, samples)
    yield Phase("score", number)
    measured += [*copy_measures(bench, config.data, samples), ground_of(samples)]
    training_set, size = bench.training_sets[config.data], bench.suite.image_size
    measured += loss_measures(bench.base, training_set, config, size, trained)
    scored = keep(metrics.score(samples, bench.judges), folder, bench.base.name)
    found = look_at(bench, scored, bench.base_scored)
    told = {**found.measures, **{one.name: one for one in measured}}
    yield Rung(
        step,
        trained,
        without_pixels(scored),
        found.objectives,
        found.rates,
        told,
        seeds,
        hard_failure(scored),
    )


def _with_seeds(bench: Workbench, seeds: int | None) -> Workbench:
    """The bench with the first seeds of its suite, and of the base's samples the same ones."""
    if seeds is None:
        return bench
    base = bench.base_scored
    if base is not None:
        base = [base[place] for place in bench.suite.places(seeds)]
    return replace(bench, suite=bench.suite.model_copy(update={"seeds": seeds}), base_scored=base)


def _alias_leak(
    bench: Workbench, config: TrainConfig, lora: Path, samples: Sequence[Sample]
) -> list[Measure]:
    if config.alias is None or bench.base_scored is None or has_alias(bench.suite, config.alias):
        return []
    return leak_measures(bench.base, bench.suite, config.alias, lora, (samples, bench.base_scored))
