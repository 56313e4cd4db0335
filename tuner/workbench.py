"""What every trial of a study shares: the data, the base, the judges, and the base's own scores.

The base without LoRA is sampled and scored once per study, and read back from the study folder
after that.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import metrics
from metrics.contract import SET_OBJECTIVES, Prompt, Sample, ScoredSample
from metrics.contract import Image as Picture
from metrics.judges import featured
from metrics.memory import Memory
from tuner import __version__
from tuner.base_model import load_base
from tuner.config import OF_BASE, ORIGINALS, StudyConfig, TrainConfig, rung_steps
from tuner.data.folder import TrainingSet, load_pixels, read_folder
from tuner.data.picture_file import too_thin
from tuner.data.regularisation import with_regularisation
from tuner.errors import ConfigError, TunerError
from tuner.events import Event, Phase, RungScored
from tuner.extra import (
    ExtraFound,
    Outcome,
    RunTrial,
    extras_of,
    sample_bases,
    sample_extras,
)
from tuner.judge_models import model_names, study_judges
from tuner.keep import keep
from tuner.mannequin.dataset import named_folder
from tuner.optimizers import require
from tuner.parameters import Fixed
from tuner.prior_pictures import prior_pictures
from tuner.prompt_words import read_prompt
from tuner.recipe_bench import drawn_base, recipe_runner
from tuner.remembered import remembered
from tuner.rows import RungRow, StudyRow
from tuner.space import space_hash, to_yaml
from tuner.store import Store, utc_now
from tuner.study_folder import RungFolder, StudyFolder, write_text
from tuner.trial import Workbench, copy_measures, ground_of, look_at, run_trial

if TYPE_CHECKING:
    from metrics.detectors import Detectors

TrainingSets = Mapping[str | None, TrainingSet]
"""The training sets by the name that `train.data` calls them by; None where there is one."""

MOST_REFERENCE = 200
"""Held-out pictures that layout and likeness are measured against: more would only take longer."""

_NAMED = ("torch", "diffusers", "transformers", "peft", "optuna", "mediapipe", "open_clip_torch")
"""The packages whose versions are kept with a study."""


def read_data(config: StudyConfig) -> TrainingSets:
    """Every training set of the study, with regularisation pictures that lie in a folder.

    Raises ConfigError for a folder that cannot be used.
    """
    sets = {name: read_folder(named_folder(data)) for name, data in config.data_folders.items()}
    prior = config.regularisation
    if prior is None or prior == OF_BASE:
        return sets
    folder = None if prior == ORIGINALS else named_folder(prior)
    return {name: with_regularisation(one, folder) for name, one in sets.items()}


def data_hashes(data: TrainingSets) -> dict[str, str]:
    """The hash of each training set by its name; the only one is called `data`."""
    return {name or "data": one.sha256 for name, one in data.items()}


def record_study(
    config: StudyConfig, folder: StudyFolder, store: Store, hashes: Mapping[str, str]
) -> None:
    """Write study.yaml and the study's row: what is asked for, with which versions and data."""
    versions = {"tuner": __version__} | {name: importlib.metadata.version(name) for name in _NAMED}
    about = [f"# {name} {version}" for name, version in versions.items()]
    about += [f"# data {name}: sha256 {sha}" for name, sha in hashes.items()]
    write_text(folder.study_yaml, "\n".join(about) + "\n" + to_yaml(config))
    store.put_study(
        StudyRow(
            name=config.study,
            base=config.base,
            space_hash=space_hash(config),
            budget=config.budget.trials,
            objectives=config.objectives,
            constraints=config.constraints,
            versions=versions,
            begun=utc_now(),
            side=min(config.suite.image_size),
            models=model_names(study_judges(config)),
        )
    )


def bench_runner(
    config: StudyConfig,
    folder: StudyFolder,
    store: Store,
    data: TrainingSets,
    models: contextlib.ExitStack,
) -> Generator[Event, None, RunTrial]:
    """Open the bench as `open_bench` does and return what runs a trial on it.

    The base is sampled beside the suite too, where the study asks for it.
    """
    bench = yield from open_bench(config, folder, store, data, models)
    if config.recipes:
        return recipe_runner(bench, config, folder, store)
    extras = extras_of(config, folder, store)
    for outcome in sample_bases(bench, extras):
        if isinstance(outcome, ExtraFound):
            store.put_extra(outcome.row, outcome.scored)
        else:
            yield outcome

    def run(number: int, train: TrainConfig) -> Iterator[Outcome]:
        steps, files = rung_steps(train, config.budget), folder.trial(number)
        yield from run_trial(bench, number, train, steps, files)
        yield from sample_extras(bench, extras, number, train, (steps[-1], files.rung(steps[-1])))

    return run


def open_bench(
    config: StudyConfig,
    folder: StudyFolder,
    store: Store,
    data: TrainingSets,
    models: contextlib.ExitStack,
) -> Generator[Event, None, Workbench]:
    """Load the base and the judges and score the base once.

    The judges stay open until `models` is closed. Raises MissingModelError for a base that is
    not there.
    """
    yield Phase("load")
    require(config.tried("optimizer"))
    base = load_base(config.base)
    match config.train.get("clip_skip"):
        case Fixed(int(layer)):  # where it is searched, the base is drawn as it was made
            base.clip_skip = layer
    judges = models.enter_context(metrics.open_detectors(study_judges(config)))
    memories = {
        name: _memory(config, one, judges, folder.embeddings(name)) for name, one in data.items()
    }
    bench = Workbench(
        base,
        data,
        config.suite,
        judges,
        reference=held_out_features(data.values(), judges),
        objectives=config.objectives,
        memories=memories,
        low_rung_seeds=config.budget.low_rung_seeds,
    )
    bench = replace(bench, base_scored=(yield from base_scored(bench, folder, store)))
    if config.regularisation == OF_BASE:
        bench = yield from _with_prior(bench, folder)
    return bench


def _with_prior(bench: Workbench, folder: StudyFolder) -> Generator[Event, None, Workbench]:
    yield Phase("base")
    sets = dict(bench.training_sets)
    for outcome in prior_pictures(bench, folder.regularisation):
        if isinstance(outcome, TrainingSet):
            sets = {n: replace(one, regularisation=outcome) for n, one in sets.items()}
        else:
            yield outcome
    return replace(bench, training_sets=sets)


def _memory(
    config: StudyConfig, training_set: TrainingSet, judges: Detectors, file: Path
) -> Memory | None:
    if judges.embedding is None:
        return None
    model = config.judges.copy_model or config.judges.gender_model_for(config.base)
    return remembered(training_set, judges.embedding, model, config.suite.image_size, file)


def base_scored(
    bench: Workbench, folder: StudyFolder, store: Store
) -> Generator[Event, None, list[ScoredSample]]:
    """The suite without LoRA, sampled and scored, or read back where it is complete.

    Raises ConfigError for an objective that this base, suite and data leave no room for.
    """
    kept = kept_base(store)
    if kept is None:
        yield Phase("base")
        rung = RungFolder(folder.base)
        samples = yield from drawn_base(bench, rung)
        yield Phase("score")
        kept = keep(metrics.score(samples, bench.judges), rung, bench.base.name)
        found = look_at(bench, kept, kept)
        # Of several training sets none is the one that the base would copy.
        copied = copy_measures(bench, None, samples) if list(bench.memories) == [None] else []
        told = {**found.measures, **{one.name: one for one in [*copied, ground_of(samples)]}}
        row = RungRow(None, 0, found.objectives, found.rates, None, rung.grid, told)
        store.put_rung(row, kept)
    row = store.rungs(None)[0]
    _require_objectives(bench.objectives, row)
    yield RungScored(None, 0, row.objectives, row.rates, row.grid)
    return kept


def _require_objectives(names: Sequence[str], base: RungRow) -> None:
    missing = [name for name in names if name not in base.objectives]
    if silent := [name for name in missing if name not in SET_OBJECTIVES]:
        raise ConfigError(
            f"no prompt of the suite asks about {', '.join(silent)}: drop it from objectives, or "
            "give the suite prompts with a sex (gender) and without clothes (clothing)"
        )
    if missing:
        notes = {name: base.measures.get(name) for name in missing}
        why = [
            f"{n} ({m.note if m else 'the base was scored without it'})" for n, m in notes.items()
        ]
        raise ConfigError(f"{', '.join(why)} cannot be measured here: drop it from objectives")


def held_out_features(sets: Iterable[TrainingSet], judges: Detectors) -> list[ScoredSample]:
    """The features of the pictures that no training set trains on, at most MOST_REFERENCE.

    Their captions say which sex they show; what else a caption says is asked of nobody. Pictures
    that cannot be read any more or are too long and thin to be judged are passed over.
    """
    sets = list(sets)
    trained = {image.sha256 for one in sets for image in one.images}
    held = {image.sha256: image for one in sets for image in one.held_out}
    unseen = [held[sha256] for sha256 in sorted(held) if sha256 not in trained]
    unseen = [each for each in unseen if not too_thin(each.width, each.height)]
    seen = []
    for index, image in enumerate(unseen[:MOST_REFERENCE]):
        with contextlib.suppress(OSError):
            pixels = np.asarray(load_pixels(image), np.uint8)
            prompt = Prompt(image.caption, read_prompt(image.caption).sex)
            one = featured(Sample(prompt, index, pixels), judges)
            # Its pixels have been looked at: those of 200 photographs would not fit in memory.
            seen.append(replace(one, sample=replace(one.sample, image=pixels[:0])))
    return seen


def kept_base(store: Store) -> list[ScoredSample] | None:
    """The base's scored samples from the study folder; None before they were all kept."""
    if not store.rungs(None):
        return None
    rows = store.samples(None, 0)
    if not all(row.path.is_file() for row in rows):
        return None
    return [
        ScoredSample(
            Sample(row.prompt, row.seed, _read(row.path), row.path), row.scores, row.features
        )
        for row in rows
    ]


def _read(path: Path) -> Picture:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"), np.uint8)
    except OSError as error:
        raise TunerError(f"{path} cannot be read; delete it to have it drawn anew") from error
