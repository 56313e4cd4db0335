"""Open the workbench of a study: load data, base and judges, and score the base.

The base without LoRA is sampled and scored once per study, and read back from the study folder
after that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import metrics
from metrics.contract import Image as Picture, Prompt, Sample, ScoredSample
from metrics.scoring import with_features
from metrics.sets.memory import Memory
from tuner.data import TrainingSet, TrainingSets
from tuner.data.folder import load_pixels
from tuner.data.picture_file import too_thin
from tuner.data.prompt_words import read_prompt
from tuner.errors import TunerError
from tuner.events import BaseOpened, Event, Phase
from tuner.judging.face_reference import face_reference
from tuner.judging.models import study_judges
from tuner.judging.pool import open_pool
from tuner.models import BaseModel, load_base
from tuner.models.memory_errors import naming_memory_errors
from tuner.models.pipelines import has_family, load_pipeline
from tuner.models.stored.layout import require_layers
from tuner.space import StudyConfig
from tuner.space.config import OF_BASE
from tuner.space.parameters import Fixed
from tuner.storage import Store, StudyFolder
from tuner.storage.folder import RungFolder
from tuner.storage.packed import pack
from tuner.training.optimizers import require
from tuner.trial.base_samples import base_samples
from tuner.trial.copies import remembered
from tuner.trial.keep import write_pictures
from tuner.trial.messages import BaseNeeded, Rung
from tuner.trial.prior_pictures import prior_pictures
from tuner.trial.thresholds import stored_thresholds, with_study_thresholds
from tuner.trial.workbench import Workbench, copy_measures, ground_measure, summarise

if TYPE_CHECKING:
    from metrics.detectors import Detectors

MOST_REFERENCE = 200
"""Most held-out pictures that layout and likeness are compared with: more only take longer."""


def open_bench(
    config: StudyConfig,
    folder: StudyFolder,
    data: TrainingSets,
    models: contextlib.ExitStack,
    first: bool = True,
    judge_processes: int = 0,
) -> Generator[Event | Rung | BaseNeeded, None, Workbench]:
    """Load the base and the judges and score the base; yield its Rung unless it is stored already.

    Only the `first` of several workers sets the judges' thresholds and draws with the base; the
    others read from the study folder what it made, when they need it. The judges stay open until
    `models` is closed; up to `judge_processes` score beside this process. Raises MissingModelError
    for a base that is not there, OutOfMemoryError for one that does not fit.
    """
    with naming_memory_errors():
        bench = yield from _loaded(config, data, folder, models, judge_processes)
        if first:
            yield from with_study_thresholds(bench.judges, bench.pool, data, folder)
            bench = replace(bench, base_scored=(yield from base_scored(bench, folder)))
        else:
            stored_thresholds(bench.judges, folder)
            read = _awaited_base(bench.judges, folder)
            bench = replace(bench, base_scored=kept_base(folder), read_base=read)
        if config.regularisation == OF_BASE:
            if not first:
                yield BaseNeeded()
            bench = yield from _with_prior(bench, folder)
    return bench


def _awaited_base(
    judges: Detectors, folder: StudyFolder
) -> Callable[[], Generator[BaseNeeded, None, list[ScoredSample]]]:
    """Return a function that waits for what the first worker makes, and then has it for good."""
    known: list[list[ScoredSample]] = []

    def read() -> Generator[BaseNeeded, None, list[ScoredSample]]:
        if not known:
            yield BaseNeeded()
            known.append(_made_by_first(judges, folder))
        return known[0]

    return read


def _made_by_first(judges: Detectors, folder: StudyFolder) -> list[ScoredSample]:
    """Return the base's scored samples of the first worker; give the judges its thresholds."""
    stored_thresholds(judges, folder)
    kept = kept_base(folder)
    if kept is None:
        raise TunerError(f"{folder.base} lost pictures of the base; run the same command again")
    return kept


def _loaded(
    config: StudyConfig,
    data: TrainingSets,
    folder: StudyFolder,
    models: contextlib.ExitStack,
    judge_processes: int,
) -> Generator[Event, None, Workbench]:
    yield Phase("load")
    require(config.tried("optimizer"))
    base = yield from _opened_base(config, folder)
    judges = models.enter_context(metrics.open_detectors(study_judges(config)))
    least = 1 if base.device.type == "cuda" else 2  # on a GPU it draws while one judges
    pool = models.enter_context(open_pool(judges.settings, judge_processes, least))
    memories = {
        name: _memory(config, images, judges, folder.embeddings(name))
        for name, images in data.items()
    }
    return Workbench(
        base,
        data,
        config.suite,
        judges,
        reference=held_out_features(data.values(), judges),
        faces=face_reference(data.values(), judges, folder.faces),
        objectives=config.objectives,
        memories=memories,
        low_rung_seeds=config.budget.low_rung_seeds,
        pool=pool,
    )


def _opened_base(config: StudyConfig, folder: StudyFolder) -> Generator[Event, None, BaseModel]:
    """Return the study's base; only a study of existing files may have one of another family."""
    judged = config.judged
    if judged is not None and not has_family(config.base):
        opened = load_pipeline(
            config.base, steps=judged.steps, guidance_scale=judged.guidance_scale
        )
        yield BaseOpened(opened.name, opened.settings)
        return opened
    base = load_base(config.base, prediction=config.base_prediction)
    yield BaseOpened(base.name, str(base.prediction))
    require_layers(config.base, base.layers, config)
    match config.train.get("clip_skip"):
        case Fixed(int(layer)):  # if it is searched, the base is drawn with its own layer
            base.clip_skip = layer
    if judged is None:
        base.keep_at(folder.kept)
    base.compiles = config.compile == "always"  # a worker has decided before what auto means
    return base


def _with_prior(bench: Workbench, folder: StudyFolder) -> Generator[Event, None, Workbench]:
    yield Phase("base")
    sets = dict(bench.training_sets)
    for outcome in prior_pictures(bench, folder.regularisation):
        if isinstance(outcome, TrainingSet):
            sets = {name: replace(images, regularisation=outcome) for name, images in sets.items()}
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
    bench: Workbench, folder: StudyFolder
) -> Generator[Event | Rung, None, list[ScoredSample]]:
    """Return the scored samples of the suite without LoRA.

    They are read back if they are complete in the study folder, otherwise sampled, scored and
    yielded as a Rung.
    """
    kept = kept_base(folder)
    if kept is not None:
        return kept
    yield Phase("base")
    rung = RungFolder(folder.base)
    drawn = yield from base_samples(bench, bench.suite, rung)
    samples = drawn.samples
    yield Phase("score")
    kept = write_pictures(drawn.scored(), rung, bench.base.name)
    scores = summarise(bench, kept, kept)
    # With several training sets it is unclear which one the base would copy.
    copied = copy_measures(bench, None, samples) if list(bench.memories) == [None] else []
    more = {measure.name: measure for measure in [*copied, ground_measure(samples)]}
    measures = {**scores.measures, **more}
    yield Rung(0, None, pack(kept), scores.objectives, scores.rates, measures)
    return kept


def held_out_features(sets: Iterable[TrainingSet], judges: Detectors) -> list[ScoredSample]:
    """Return the features of pictures that no training set trains on, at most MOST_REFERENCE.

    Their captions say which sex they show; the rest of a caption is not used. Pictures that cannot
    be read any more or are too long and thin to be judged are left out.
    """
    sets = list(sets)
    trained = {image.sha256 for images in sets for image in images.images}
    held = {image.sha256: image for images in sets for image in images.held_out}
    unseen = [held[sha256] for sha256 in sorted(held) if sha256 not in trained]
    unseen = [image for image in unseen if not too_thin(image.width, image.height)]
    measured = []
    for index, image in enumerate(unseen[:MOST_REFERENCE]):
        with contextlib.suppress(OSError):
            pixels = np.asarray(load_pixels(image), np.uint8)
            prompt = Prompt(image.caption, read_prompt(image.caption).sex)
            scored = with_features(Sample(prompt, index, pixels), judges)
            # Without its pixels: those of 200 photographs would not fit in memory.
            measured.append(replace(scored, sample=replace(scored.sample, image=pixels[:0])))
    return measured


def kept_base(folder: StudyFolder) -> list[ScoredSample] | None:
    """Return the base's scored samples from the study folder; None if they are not complete."""
    with Store(folder.results_db, read_only=True) as store:
        if not store.rungs(None):
            return None
        rows = store.samples(None, 0)
    if not all(row.path.is_file() for row in rows):
        return None
    return [row.scored(_read(row.path)) for row in rows]


def _read(path: Path) -> Picture:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"), np.uint8)
    except OSError as error:
        raise TunerError(f"{path} cannot be read; delete it, and it is drawn again") from error
