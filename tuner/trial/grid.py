"""One picture of all samples: a row per prompt with its text, a column per seed.

The same prompts and seeds stand in the same places in every grid of a study, so that two grids
can be compared by flipping between them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from metrics.contract import Sample
from tuner.storage import replacing

_CELL_MIN, _CELL_MAX = 128, 256
_LABEL_WIDTH = 240
_GAP = 4
_FONT_SIZE = 13
_LETTERS_PER_LINE = 34
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


def grid(samples: Sequence[Sample]) -> Image.Image:
    """The grid of `samples`, which come prompt by prompt and are of one size.

    Small pictures are enlarged without smoothing by a whole factor, large ones made smaller.
    """
    rows = [list(row) for _, row in groupby(samples, key=lambda sample: sample.prompt)]
    cell = _cell_size(samples[0])
    columns = max(len(row) for row in rows)
    picture = Image.new(
        "RGB",
        (_LABEL_WIDTH + columns * (cell[0] + _GAP), len(rows) * (cell[1] + _GAP)),
        _PAPER,
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
        grid(samples).save(temporary)


def _cell_size(sample: Sample) -> tuple[int, int]:
    height, width = sample.image.shape[:2]
    longer = max(width, height)
    if longer > _CELL_MAX:
        return round(width * _CELL_MAX / longer), round(height * _CELL_MAX / longer)
    factor = -(-_CELL_MIN // longer)
    return width * factor, height * factor


def _scaled(sample: Sample, cell: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(sample.image)
    smaller = cell[0] < picture.width
    return picture.resize(cell, Image.Resampling.LANCZOS if smaller else Image.Resampling.NEAREST)


def _write_label(picture: Image.Image, text: str, top: int, height: int) -> None:
    font = ImageFont.load_default(_FONT_SIZE)
    lines = textwrap.wrap(text, _LETTERS_PER_LINE) or ["(empty prompt)"]
    shown = lines[: max(1, (height - 2 * _GAP) // (_FONT_SIZE + 4))]
    if len(shown) < len(lines):
        shown[-1] = shown[-1][: _LETTERS_PER_LINE - 2] + " …"
    ImageDraw.Draw(picture).multiline_text(
        (_GAP * 2, top + _GAP), "\n".join(shown), font=font, fill=_INK, spacing=4
    )
