"""A contact sheet of a training set: a row for each sex and framing, a few pictures in each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tuner.data.audit import FRAMINGS, SEXES, Audit
from tuner.data.folder import TrainingImage, load_pixels
from tuner.data.picture_file import pixelated
from tuner.errors import ConfigError
from tuner.storage import replacing
from tuner.text import counted

_CELL = 128
_COLUMNS = 8
_LABEL_WIDTH = 150
_GAP = 4
_FONT_SIZE = 13
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


def contact_sheet(audit: Audit) -> Image.Image:
    """Draw up to eight pictures of each kind, evenly spread; explicit ones are pixelated."""
    keys = [(sex, framing) for sex in SEXES for framing in FRAMINGS]
    rows = [(key, audit.groups[key]) for key in keys if key in audit.groups]
    width = _LABEL_WIDTH + _COLUMNS * (_CELL + _GAP)
    sheet = Image.new("RGB", (width, max(1, len(rows)) * (_CELL + _GAP)), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    explicit = frozenset(audit.explicit)
    for number, ((sex, framing), images) in enumerate(rows):
        top = number * (_CELL + _GAP)
        label = f"{sex}\nframing: {framing}\n{counted(len(images), 'picture')}"
        draw.multiline_text((2 * _GAP, top + _GAP), label, font=font, fill=_INK, spacing=4)
        for column, image in enumerate(_spread(images)):
            left = _LABEL_WIDTH + column * (_CELL + _GAP)
            cell = _cell(image, image.path in explicit)
            sheet.paste(cell, (left + (_CELL - cell.width) // 2, top + (_CELL - cell.height) // 2))
    return sheet


def write_sheet(audit: Audit, path: Path) -> None:
    """Write the sheet as PNG, whole or not at all. Raises ConfigError if that fails."""
    sheet = contact_sheet(audit)
    try:
        with replacing(path) as temporary:
            sheet.save(temporary)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


def _spread(images: tuple[TrainingImage, ...]) -> list[TrainingImage]:
    if len(images) <= _COLUMNS:
        return list(images)
    return [images[index * len(images) // _COLUMNS] for index in range(_COLUMNS)]


def _cell(image: TrainingImage, explicit: bool) -> Image.Image:
    try:
        picture = load_pixels(image)
    except OSError:  # deleted since
        return Image.new("RGB", (_CELL, _CELL), _PAPER)
    if explicit:
        picture = Image.fromarray(pixelated(np.asarray(picture, np.uint8)))
    scale = _CELL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)
