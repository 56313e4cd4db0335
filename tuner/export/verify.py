"""Compare the samples that an exported file draws with those of the study.

A study draws in half precision where the device multiplies that faster, which changes details of a
picture. So the study's own file is drawn anew in float32 first, which has to give the study's
pictures but for such details; the exported file then has to draw the same as it.
"""

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
from tuner.models import BaseModel, draw, method
from tuner.space import SuiteConfig
from tuner.space.config import MANNEQUIN
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow
from tuner.trial.keep import is_flagged

MOST_DIFFERENCE = 2e-2 + 1 / 255
"""Largest allowed difference of a channel, in [0, 1], between the two files' drawings of a cell.

It allows for float16 weights and for rounding to whole numbers.
"""

MOST_MEAN_DIFFERENCE = 0.04
"""Largest allowed mean difference, in [0, 1], between a stored sample and its drawing in float32.

Of 26 samples of the mannequin in bfloat16 the most was 0.008; a wrong base or sampler gives above
0.1.
"""

_CELLS = 4


class ExportError(TunerError):
    """The exported file, or the study's own here, draws other pictures than the study did."""


def stored_cells(folder: StudyFolder, rung: RungRow, base: str) -> dict[int, Image]:
    """Read up to four of the rung's samples, spread over the prompts, by cell."""
    with Store(folder.results_db, read_only=True) as store:
        rows = store.samples(rung.trial, rung.step)
    # With a real base, flagged pictures are stored pixelated and cannot be compared.
    hidden = [base != MANNEQUIN and is_flagged(row.scores) for row in rows]
    pairs = zip(rows, hidden, strict=True)
    usable = [row for row, pixelated in pairs if row.path.is_file() and not pixelated]
    spread = np.linspace(0, len(usable) - 1, min(_CELLS, len(usable))).round().astype(int)
    return {usable[index].cell: _read_png(usable[index].path) for index in spread}


def reference(
    base: BaseModel, suite: SuiteConfig, stored: Mapping[int, Image], file: method.Trained
) -> dict[int, Image]:
    """Draw the cells of `stored` anew with the study's own `file`, in the precision of the base.

    Raises ExportError if they are other pictures than `stored`.
    """
    if not stored:
        return {}
    with method.loaded(base, file):
        drawn = draw(base.pipeline, suite, list(stored), base.clip_skip, exact=True)
    apart = max(
        float(np.abs(new.astype(float) - old.astype(float)).mean()) / 255
        for new, old in zip(drawn, stored.values(), strict=True)
    )
    if apart > MOST_MEAN_DIFFERENCE:
        raise ExportError(
            f"the study's own file draws other pictures here than in the study: they differ by "
            f"{apart:.3f} in the mean (allowed {MOST_MEAN_DIFFERENCE:g}); nothing was written. Are "
            "the base and the versions of torch and diffusers those of the study (study.yaml names "
            "them)?"
        )
    return dict(zip(stored, drawn, strict=True))


def difference(
    base: BaseModel, suite: SuiteConfig, expected: Mapping[int, Image], how: str
) -> float:
    """Return the largest difference of a channel, in [0, 1], of the cells of `expected` drawn now.

    Raises ExportError above MOST_DIFFERENCE; `how` (the file was loaded) is put into its message.
    """
    drawn = draw(base.pipeline, suite, list(expected), base.clip_skip, exact=True)
    largest = _largest_difference(drawn, list(expected.values()))
    if largest > MOST_DIFFERENCE:
        raise ExportError(
            f"the file, {how}, draws pictures that differ from those of the study's own file by "
            f"{largest:.3f} (allowed {MOST_DIFFERENCE:.3f}); nothing was written. Please report it"
        )
    return largest


def _largest_difference(drawn: Sequence[Image], stored: Sequence[Image]) -> float:
    pairs = zip(drawn, stored, strict=True)
    return max(float(np.abs(a.astype(float) - b.astype(float)).max()) / 255 for a, b in pairs)


def _read_png(path: Path) -> Image:
    with Pictures.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of diffusers and PEFT in this block.

    diffusers warns if a LoRA has no text encoder, PEFT about alpha patterns; both are intended.
    """
    before = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        diffusers_logging.set_verbosity(before)
