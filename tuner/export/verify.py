"""Compare the samples that an exported file draws with those of the study."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import diffusers.utils.logging as diffusers_logging
import numpy as np
from PIL import Image as Pictures

from metrics.contract import Image
from tuner.errors import TunerError
from tuner.models import BaseModel, draw
from tuner.space import SuiteConfig
from tuner.space.config import MANNEQUIN
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow
from tuner.trial.keep import is_flagged

MOST_DIFFERENCE = 2e-2 + 1 / 255
"""Largest difference of a channel in [0, 1] between two drawings of a cell: float16 weights, and
the rounding of a PNG."""


_CELLS = 4


class ExportError(TunerError):
    """The exported file does not do what the trial's own did; nothing was written."""


def stored_cells(folder: StudyFolder, rung: RungRow, base: str) -> dict[int, Image]:
    """Some of the rung's samples as they lie in the study, by cell, spread over the prompts."""
    with Store(folder.results_db, read_only=True) as store:
        rows = store.samples(rung.trial, rung.step)
    # A flagged picture of a real base lies there pixelated: nothing to compare with.
    hidden = [base != MANNEQUIN and is_flagged(row.scores) for row in rows]
    there = [row for row, gone in zip(rows, hidden, strict=True) if row.path.is_file() and not gone]
    spread = np.linspace(0, len(there) - 1, min(_CELLS, len(there))).round().astype(int)
    return {there[place].cell: _read_png(there[place].path) for place in spread}


def difference(base: BaseModel, suite: SuiteConfig, stored: Mapping[int, Image], how: str) -> float:
    """The largest difference of a channel in [0, 1] between `stored` and the cells drawn anew.

    `how` the file was loaded stands in the ExportError that is raised above MOST_DIFFERENCE.
    """
    drawn = draw(base.pipeline, suite, list(stored), base.clip_skip)
    difference = _largest_difference(drawn, list(stored.values()))
    if difference > MOST_DIFFERENCE:
        raise ExportError(
            f"the file, {how}, draws pictures that differ from the study's by {difference:.3f} "
            f"(allowed {MOST_DIFFERENCE:.3f}); nothing was written. Are the base and the versions "
            "of torch and diffusers those of the study (study.yaml names them)?"
        )
    return difference


def _largest_difference(drawn: Sequence[Image], stored: Sequence[Image]) -> float:
    pairs = zip(drawn, stored, strict=True)
    return max(float(np.abs(a.astype(float) - b.astype(float)).max()) / 255 for a, b in pairs)


def _read_png(path: Path) -> Image:
    with Pictures.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """diffusers warns of a LoRA without text encoder, peft of alpha patterns: both are meant."""
    before = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        diffusers_logging.set_verbosity(before)
