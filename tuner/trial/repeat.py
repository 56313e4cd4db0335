"""One part of a confirmation on the device: a LoRA, trained again if needed, sampled on fresh
noise and scored."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

from metrics.contract import ScoredSample
from tuner.events import Event, Phase
from tuner.models.memory_errors import naming_memory_errors
from tuner.space import TrainConfig
from tuner.space.train_config import read_yaml, to_yaml
from tuner.storage import Store, StudyFolder
from tuner.storage.files import write_text
from tuner.storage.folder import RungFolder, TrialFolder
from tuner.storage.fresh_rows import BASE
from tuner.storage.packed import pack
from tuner.training import Checkpoint, train
from tuner.trial.judged import draw_file
from tuner.trial.keep import write_pictures
from tuner.trial.messages import BaseNeeded, RepeatWork, Rung
from tuner.trial.scoring import draw_suite
from tuner.trial.workbench import Workbench, summarise


def run_repeat(
    bench: Workbench, folder: StudyFolder, work: RepeatWork
) -> Generator[Event | Rung | BaseNeeded, None, None]:
    """Train the LoRA of `work` if needed, sample it on fresh noise and score it.

    Yields events and one Rung, whose `lora` is the sampled file. Raises the errors of
    `tuner.trial.run_trial`. A LoRA is compared with the base's fresh samples, which have to be in
    results.db when the outcome after BaseNeeded is requested.
    """
    trial, step = work.part.trial, work.part.step
    bench = replace(bench, suite=bench.suite.fresh(work.seeds))
    with naming_memory_errors():
        lora = yield from _lora(bench, folder, work)
        scored = yield from _scored(
            bench, work, lora, folder.fresh_rung(trial, step, work.part.repeat)
        )
        base = scored
        if work.part != BASE:
            yield BaseNeeded()
            base = _base_on_fresh_noise(folder)
        scores = summarise(bench, scored, base)
    yield Rung(step, lora, pack(scored), scores.objectives, scores.rates, scores.measures)


def _base_on_fresh_noise(folder: StudyFolder) -> list[ScoredSample]:
    with Store(folder.results_db, read_only=True) as store:
        return [row.scored() for row in store.fresh_samples(BASE)]


def _lora(
    bench: Workbench, folder: StudyFolder, work: RepeatWork
) -> Generator[Event, None, Path | None]:
    """Return the file to sample: the trial's own, or one of a training with another seed."""
    trial, step, repeat = work.part.trial, work.part.step, work.part.repeat
    if trial is None:
        return None
    if work.judged is not None:
        return work.judged.path
    config = read_yaml(folder.trial(trial).train_yaml)
    if repeat == 0:
        return folder.trial(trial).rung(step).trained(config.method)
    again = config.model_copy(update={"seed": work.training_seed})
    into = folder.repeat(trial, step, repeat)
    yield from _trained(bench, work, again, into)
    return into.rung(step).trained(config.method)


def _trained(
    bench: Workbench, work: RepeatWork, config: TrainConfig, into: TrialFolder
) -> Iterator[Event]:
    """Train, unless the file of the same training exists: files are written whole or not at all."""
    trial, step = work.part.trial, work.part.step
    text, known = to_yaml(config), into.train_yaml
    file = into.rung(step).trained(config.method)
    if file.is_file() and known.is_file() and known.read_text("utf-8") == text:
        return
    file.unlink(missing_ok=True)
    write_text(known, text)
    yield Phase("train", trial)
    training_set, rungs = bench.training_sets[config.data], sorted({step, work.steps})
    training = train(bench.base, training_set, config, rungs, into.root)
    with contextlib.closing(training) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Checkpoint):
                return  # at `step`, the same point of the schedule and stages as in the trial
            yield outcome


def _scored(
    bench: Workbench, work: RepeatWork, lora: Path | None, folder: RungFolder
) -> Generator[Event, None, list[ScoredSample]]:
    trial = work.part.trial
    yield Phase("sample", trial)
    if work.judged is not None:
        drawn = yield from draw_file(bench, work.judged, folder)
    else:
        drawn = yield from draw_suite(bench, bench.suite, lora, folder)
    yield Phase("score", trial)
    return write_pictures(drawn.scored(), folder, bench.base.name)
