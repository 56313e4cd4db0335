"""The mannequin's training data: folders of PNG + .txt, read like any user's folder.

Well-posed, dressed figures with all their tags, 95 % of one sex as in most collections of people.
A few captions name the other sex, like a tagger's: where men are rare, half of the pictures tagged
`1boy` show a woman. Each variant differs from that default in one thing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pictures

from metrics.contract import Image
from metrics.preprocess import Box, square_crop
from tuner.errors import ConfigError
from tuner.mannequin.figure import Figure, Ground, common_figure
from tuner.mannequin.render import draw, truth
from tuner.storage.shipped import DATA_VARIANTS, cache_folder, data_variant

COUNT = 400
SIZE = 128  # px; training uses smaller and larger sizes too
MISTAGGED_SHARE = 0.06
VERSION = 2
"""Version of the pictures: raise it when they change, so that no old folder is reused."""

DEFAULT = DATA_VARIANTS[0]

_SEED = 20_000
_TAGGER_SEED = 20_001
_REACH = 0.65  # heads from the outer joints to the crown, the fingertips and the soles
_NECK_TO_NOSE = 0.76  # heads


@dataclass(frozen=True)
class Variant:
    """Properties of a data set: share of women, ground (None: both), parameters of the figure that
    all pictures share (`look`), square crops, number of pictures."""

    female_share: float = 0.95
    ground: Ground | None = None
    look: Mapping[str, Any] = field(default_factory=dict)
    cropped: bool = False
    count: int = COUNT


ONE_LOOK = {
    "hair": "red hair",
    "top": "sweater",
    "top_colour": "green",
    "bottom": "trousers",
    "bottom_colour": "yellow",
}
"""One hair colour and one outfit for women and men."""

VARIANTS: Mapping[str, Variant] = {
    "rare_males": Variant(),
    "balanced": Variant(female_share=0.5),
    "matted": Variant(ground="plain"),
    "original": Variant(ground="cluttered"),
    "square": Variant(cropped=True),
    "few": Variant(count=40),
    "one_look": Variant(female_share=0.5, look=ONE_LOOK),
}
"""Apart from crop, ground and look, figure n of a variant is figure n of the default if their sexes
are the same: runs on two variants are paired."""


def data_folder(variant: str = DEFAULT) -> Path:
    """Return the folder of the data set, drawn on first use (a few seconds)."""
    suffix = "" if variant == DEFAULT else f"-{variant}"
    folder = cache_folder() / "mannequin" / f"data-{VERSION}{suffix}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix="data-", dir=folder.parent))
        try:
            write_dataset(part, variant)
            with contextlib.suppress(OSError):  # another process was first
                os.replace(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def named_folder(data: str) -> Path:
    """Return the folder that `mannequin`, `mannequin:VARIANT` or a path names.

    Raises ConfigError for an unknown variant.
    """
    try:
        variant = data_variant(data)
    except ValueError:
        known = ", ".join(DATA_VARIANTS)
        raise ConfigError(
            f"data {data}: unknown variant of the mannequin's data (known: {known})"
        ) from None
    return Path(os.path.expanduser(data)) if variant is None else data_folder(variant)


def write_dataset(folder: Path, variant: str = DEFAULT, count: int | None = None) -> None:
    """Draw the variant's captioned pictures, or `count` of them, into an existing folder."""
    count = VARIANTS[variant].count if count is None else count
    mistagged = np.random.default_rng(_TAGGER_SEED).random(count) < MISTAGGED_SHARE
    for index, (image, figure) in enumerate(pictures(VARIANTS[variant], count)):
        name = folder / f"figure-{index:04d}"
        Pictures.fromarray(image).save(name.with_suffix(".png"))
        tags = _mistagged(figure).tags if mistagged[index] else figure.tags
        name.with_suffix(".txt").write_text(", ".join(tags) + "\n", encoding="utf-8")


def _mistagged(figure: Figure) -> Figure:
    return replace(figure, sex="male" if figure.sex == "female" else "female")


def pictures(variant: Variant, count: int, seed: int = _SEED) -> Iterator[tuple[Image, Figure]]:
    """Draw pictures (SIZE, SIZE, 3) uint8 with their figures, the rarer sex evenly among them.

    Another seed gives pictures of the same kind that no training has used.
    """
    rng = np.random.default_rng(seed)
    males = round(count * (1 - variant.female_share))
    for index in range(count):
        male = index * males // count != (index + 1) * males // count
        figure = common_figure(rng, sex="male" if male else "female")
        if variant.ground is not None:
            figure = replace(figure, ground=variant.ground)
        figure = replace(figure, **variant.look)
        yield (_crop(figure) if variant.cropped else draw(figure, SIZE)), figure


def _crop(figure: Figure) -> Image:
    """Draw the square around the person, grey outside the picture."""
    crop = square_crop(draw(figure, SIZE), person_box(figure), margin=0.0)
    return np.asarray(cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.uint8)


def person_box(figure: Figure) -> Box:
    """Return the box that a person detector would draw, clipped to the picture, as shares of it."""
    joints = truth(figure).joints
    points = np.array(list(joints.values()))
    reach = _REACH * (joints["neck"][1] - joints["nose"][1]) / _NECK_TO_NOSE
    left, top = np.clip(points.min(axis=0) - reach, 0, 1)
    right, bottom = np.clip(points.max(axis=0) + reach, 0, 1)
    return float(left), float(top), float(right), float(bottom)
