"""Write the pictures of a rung and their grid, and find files that are kept; flagged pictures are
pixelated.

Pictures are written after they were scored, so that a flagged one is never on the disk.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from PIL import Image as Pictures, ImageDraw, ImageFont

from metrics.contract import Sample, Score, ScoredSample
from tuner.data.picture_file import pixelated
from tuner.errors import ConfigError
from tuner.events import COUNTED
from tuner.space import TrainConfig
from tuner.space.config import MANNEQUIN
from tuner.space.train_config import read_yaml
from tuner.storage import Store, StudyFolder, replacing
from tuner.storage.folder import RungFolder, TrialFolder

_PNG_LEVEL = 3
"""How hard PNG files are packed. A worker's GPU has nothing to do meanwhile: in threads and at this
level a rung takes a third of the time that Pillow's level 6 takes without, and 13 % more room
(benchmarks/rung_end.py)."""

_FLAGS = ("no_explicit_parts", "cloth_share")
_CELL_MIN, _CELL_MAX = 128, 256
_LABEL_WIDTH = 240
_GAP = 4
_FONT_SIZE = 13
_LETTERS_PER_LINE = 34
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


def write_pictures(
    scored: Sequence[ScoredSample], folder: RungFolder, base: str
) -> list[ScoredSample]:
    """Write the pictures and their grid; return the samples as they are written.

    A picture goes to its sample's path, or else to its place in `scored`. On any base but the
    mannequin, whose unclothed figures are shop-window dummies, a picture with explicit parts or a
    bare torso is pixelated, in the file and in the returned sample.
    """
    kept = list(scored) if base == MANNEQUIN else [_discreet(sample) for sample in scored]
    samples = [picture.sample for picture in kept]
    paths = [sample.path or folder.sample(index) for index, sample in enumerate(samples)]
    with ThreadPoolExecutor() as threads:  # packing leaves Python's lock free
        grid = threads.submit(write_grid, samples, folder.grid)
        list(threads.map(_write, samples, paths))
        grid.result()
    return kept


def _write(sample: Sample, path: Path) -> None:
    with replacing(path) as temporary:
        Pictures.fromarray(sample.image).save(temporary, compress_level=_PNG_LEVEL)


def is_flagged(scores: Mapping[str, Score]) -> bool:
    """Return True if a judge of clothing scores the picture below 0.5: it shows too much."""
    values = [scores[name].value for name in _FLAGS if name in scores]
    return any(value is not None and value < 0.5 for value in values)


def _discreet(scored: ScoredSample) -> ScoredSample:
    if not is_flagged(scored.scores):
        return scored
    return replace(scored, sample=replace(scored.sample, image=pixelated(scored.sample.image)))


def draw_grid(samples: Sequence[Sample]) -> Pictures.Image:
    """Draw one picture of all samples: a row per prompt with its text, a column per seed.

    `samples` come prompt by prompt and have one size. A cell of small pictures is enlarged by a
    whole factor without smoothing, large pictures are reduced. All grids of a study have the same
    prompts and seeds in the same places, so that two can be compared by flipping between them.
    """
    rows = [list(row) for _, row in groupby(samples, key=lambda sample: sample.prompt)]
    cell = _cell_size(samples[0])
    columns = max(len(row) for row in rows)
    picture = Pictures.new(
        "RGB", (_LABEL_WIDTH + columns * (cell[0] + _GAP), len(rows) * (cell[1] + _GAP)), _PAPER
    )
    for row_number, row in enumerate(rows):
        top = row_number * (cell[1] + _GAP)
        _write_label(picture, row[0].prompt.text, top, cell[1])
        for column, sample in enumerate(row):
            left = _LABEL_WIDTH + column * (cell[0] + _GAP)
            picture.paste(_scaled(sample, cell), (left, top))
    return picture


def write_grid(samples: Sequence[Sample], path: Path) -> None:
    """Write the grid as PNG, whole or not at all."""
    with replacing(path) as temporary:
        draw_grid(samples).save(temporary, compress_level=_PNG_LEVEL)


def _cell_size(sample: Sample) -> tuple[int, int]:
    height, width = sample.image.shape[:2]
    longer = max(width, height)
    if longer > _CELL_MAX:
        return round(width * _CELL_MAX / longer), round(height * _CELL_MAX / longer)
    factor = -(-_CELL_MIN // longer)
    return width * factor, height * factor


def _scaled(sample: Sample, cell: tuple[int, int]) -> Pictures.Image:
    picture = Pictures.fromarray(sample.image)
    smaller = cell[0] < picture.width
    return picture.resize(
        cell, Pictures.Resampling.LANCZOS if smaller else Pictures.Resampling.NEAREST
    )


def _write_label(picture: Pictures.Image, text: str, top: int, height: int) -> None:
    font = ImageFont.load_default(_FONT_SIZE)
    lines = textwrap.wrap(text, _LETTERS_PER_LINE) or ["(empty prompt)"]
    shown = lines[: max(1, (height - 2 * _GAP) // (_FONT_SIZE + 4))]
    if len(shown) < len(lines):
        shown[-1] = shown[-1][: _LETTERS_PER_LINE - 2] + " …"
    ImageDraw.Draw(picture).multiline_text(
        (_GAP * 2, top + _GAP), "\n".join(shown), font=font, fill=_INK, spacing=4
    )


def trained_before(
    train: TrainConfig, steps: tuple[int, ...], folder: StudyFolder, store: Store
) -> TrialFolder | None:
    """Return the folder of a finished trial with the same training and files of all `steps`.

    Returns None if there is none.
    """
    for row in store.trials():
        other = folder.trial(row.number)
        if row.state not in COUNTED or not other.train_yaml.is_file():
            continue
        if not all(other.rung(step).trained(train.method).is_file() for step in steps):
            continue
        with contextlib.suppress(ConfigError):  # the file is from an older version of tuner
            if read_yaml(other.train_yaml) == train:
                return other
    return None
