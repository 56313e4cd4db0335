"""Time the judges of a study on this machine, on pictures like its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image as Pictures, ImageOps

import metrics
from metrics.contract import BATCH, Image, JudgeSettings, Prompt, Sample
from tuner.data import read_folder
from tuner.data.folder import load_pixels
from tuner.data.prompt_words import read_prompt
from tuner.mannequin.figure import random_figure
from tuner.mannequin.render import draw
from tuner.space import StudyConfig
from tuner.storage import shipped
from tuner.trial.timing import work_clock

_ENOUGH = 0.5
"""Seconds of judging a single picture from which it stands for all: eight would take too long."""


@dataclass(frozen=True)
class JudgeTiming:
    """Seconds of the judges on this machine: `load` to open, `score` for one of many pictures."""

    load: float
    score: float


def time_judges(settings: JudgeSettings, samples: Sequence[Sample], threads: int) -> JudgeTiming:
    """Open the judges and time them on `samples`, with so many threads of a processor.

    Raises ModelUnavailableError for a model that cannot be had.
    """
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    clock = work_clock(not torch.cuda.is_available())

    def seconds(some: Sequence[Sample]) -> float:
        start = clock()
        metrics.score(some, judges)
        return clock() - start

    try:
        with metrics.open_detectors(settings) as judges:
            first, second = seconds(samples[:1]), seconds(samples[1:2])
            load = max(0.0, first - second)
            if second > _ENOUGH:
                return JudgeTiming(load, second)
            return JudgeTiming(load, seconds(samples[:BATCH]) / len(samples[:BATCH]))
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def judged_samples(config: StudyConfig) -> list[Sample]:
    """Return up to BATCH pictures in the size of a study's samples: of its training pictures.

    The mannequin's, which a study's first run draws, are replaced by rendered figures.
    """
    folder, size = next(iter(config.data_folders.values())), config.suite.image_size
    if shipped.data_variant(folder) is not None:
        rng = np.random.default_rng(0)
        figures = [random_figure(rng) for _ in range(BATCH)]
        drawn = [(figure.tags[0], draw(figure, min(size))) for figure in figures]
    else:
        images = read_folder(Path(folder)).images[:BATCH]
        drawn = [(each.caption, np.asarray(load_pixels(each), np.uint8)) for each in images]
    return [
        Sample(Prompt(text, read_prompt(text).sex), place, _fitted(pixels, size))
        for place, (text, pixels) in enumerate(drawn)
    ]


def _fitted(pixels: Image, size: tuple[int, int]) -> Image:
    return np.asarray(ImageOps.fit(Pictures.fromarray(pixels), size), np.uint8)
