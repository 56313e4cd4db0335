"""Thresholds of a study's judges, set by its own training pictures before the base is scored."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tuner.data import TrainingSet, TrainingSets
from tuner.data.folder import TrainingImage, load_pixels
from tuner.data.picture_file import too_thin
from tuner.events import Event, Phase, Progress
from tuner.judging.pool import JudgePool, score
from tuner.judging.thresholds import (
    MOST,
    Values,
    as_sample,
    read_thresholds,
    scores_by_judge,
    set_thresholds,
    views,
    write_thresholds,
)
from tuner.storage import StudyFolder

if TYPE_CHECKING:
    from metrics.detectors import Detectors


def with_study_thresholds(
    judges: Detectors, pool: JudgePool | None, sets: TrainingSets, folder: StudyFolder
) -> Generator[Event, None, None]:
    """Give the judges the study's thresholds: from its folder, or measured now and kept there.

    The judges look at up to MOST training pictures, those held out first. Judges of drawings keep
    their own scale.
    """
    if judges.settings.domain == "drawn":
        return
    if not stored_thresholds(judges, folder):
        yield Phase("judges")
        yield from _measured(judges, pool, _chosen(sets.values()), folder)
        stored_thresholds(judges, folder)


def stored_thresholds(judges: Detectors, folder: StudyFolder) -> bool:
    """Give the judges the thresholds that the study folder has; return False if it has none."""
    thresholds = read_thresholds(folder.thresholds)
    if thresholds is None or judges.settings.domain == "drawn":
        return False
    judges.settings = replace(judges.settings, thresholds=thresholds.values())
    return True


def _chosen(sets: Iterable[TrainingSet]) -> list[TrainingImage]:
    """Return up to MOST pictures, held-out ones first, each once, in the order of their hashes."""
    sets = list(sets)
    held = {image.sha256: image for images in sets for image in images.held_out}
    trained = {image.sha256: image for images in sets for image in images.images}
    ordered = [held[sha] for sha in sorted(held)]
    ordered += [trained[sha] for sha in sorted(trained) if sha not in held]
    usable = [
        image
        for image in ordered
        if not image.one_colour and not too_thin(image.width, image.height)
    ]
    return usable[:MOST]


def _measured(
    judges: Detectors,
    pool: JudgePool | None,
    images: Sequence[TrainingImage],
    folder: StudyFolder,
) -> Generator[Event, None, None]:
    sound: list[Values] = []
    for place, image in enumerate(images):
        try:
            pixels = np.asarray(load_pixels(image), np.uint8)
        except OSError:
            continue
        samples = [as_sample(view, place) for view in views(pixels, len(images))]
        sound.append(scores_by_judge([each.scores for each in score(samples, judges, pool)]))
        yield Progress(place + 1, len(images), 0.0)
    write_thresholds(set_thresholds(sound, "the study's training pictures"), folder.thresholds)
