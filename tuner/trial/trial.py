"""Train, sample and score one trial."""

from __future__ import annotations

import math
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from metrics.contract import Measure, Sample
from tuner.events import Event, Phase, Progress
from tuner.models.memory_errors import naming_memory_errors
from tuner.space import TrainConfig
from tuner.space.train_config import to_yaml
from tuner.storage.files import write_text
from tuner.storage.folder import RungFolder, TrialFolder
from tuner.storage.packed import pack
from tuner.training import Checkpoint, loss_measures, train
from tuner.trial.alias_leak import has_alias, leak_measures
from tuner.trial.collapse import hard_failure
from tuner.trial.keep import write_pictures
from tuner.trial.messages import BaseNeeded, Rung
from tuner.trial.scoring import Drawn, draw_suite
from tuner.trial.workbench import (
    Workbench,
    copy_measures,
    ground_measure,
    summarise,
    with_base,
)


def run_trial(
    bench: Workbench,
    number: int,
    config: TrainConfig,
    rungs: Sequence[int],
    folder: TrialFolder,
    trained: TrialFolder | None = None,
) -> Generator[Event | Rung | BaseNeeded, None, None]:
    """Train a run of `config`, and sample and score it at each of `rungs` (optimizer steps).

    If another trial trained the same before, `trained` is its folder, and its files are copied.
    The last rung samples the whole suite, the others `bench.low_rung_seeds` of its seeds. Yields
    events, a Rung for each checkpoint, and BaseNeeded before the base's scores are used if another
    worker makes them. The caller reports and stores them, and writes the file `done`. Raises
    DivergedError for numbers that are no longer finite, OutOfMemoryError for a trial that does not
    fit.
    """
    write_text(folder.train_yaml, to_yaml(config))
    training_set = bench.training_sets[config.data]
    with naming_memory_errors():
        yield Phase("train", number)
        steps: Generator[Progress | Checkpoint, None, None]
        if trained is None:
            steps = train(bench.base, training_set, config, rungs, folder.root)
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
        yield Checkpoint(step, path, math.nan)  # nothing was trained


def _scored(
    bench: Workbench,
    number: int,
    config: TrainConfig,
    step: int,
    folder: RungFolder,
    seeds: int | None,
) -> Iterator[Event | Rung | BaseNeeded]:
    yield Phase("sample", number)
    trained = folder.trained(config.method)
    drawn = yield from draw_suite(bench, bench.suite, trained, folder, seeds)
    samples = drawn.samples
    bench = _with_seeds((yield from with_base(bench)), seeds)
    measured = _alias_leak(bench, config, trained, samples)
    yield Phase("score", number)
    measured += [*copy_measures(bench, config.data, samples), ground_measure(samples)]
    training_set, size = bench.training_sets[config.data], bench.suite.image_size
    measured += loss_measures(bench.base, training_set, config, size, trained)
    yield scored_rung(bench, drawn, (step, trained, folder), measured, seeds)


def scored_rung(
    bench: Workbench,
    drawn: Drawn,
    place: tuple[int, Path, RungFolder],
    measured: Sequence[Measure],
    seeds: int | None = None,
) -> Rung:
    """Return the rung of drawn samples, which are scored and written; `place` has its step, the
    file that drew them and the folder. `measured` are measures that are known already."""
    step, trained, folder = place
    scored = write_pictures(drawn.scored(), folder, bench.base.name)
    scores = summarise(bench, scored, bench.base_scored)
    return Rung(
        step,
        trained,
        pack(scored),
        scores.objectives,
        scores.rates,
        {**scores.measures, **{measure.name: measure for measure in measured}},
        seeds,
        hard_failure(scored),
        bench.base.device_name,
    )


def _with_seeds(bench: Workbench, seeds: int | None) -> Workbench:
    """Return the bench with the first `seeds` of its suite and of the base's samples."""
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
