"""The small world's training data: a folder of PNG + .txt, read from then on like any user's.

Well-posed, dressed figures with all their tags, 95 % of one sex as in most collections of people.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tuner.home import cache_folder
from tuner.mannequin.render import draw, random_figure

COUNT = 400
FEMALE_SHARE = 0.95
SIZE = 128  # px; trained at smaller and larger sizes alike
_VERSION = 1  # raised whenever the pictures change, so that an old folder is not taken for new
_SEED = 20_000


def data_folder() -> Path:
    """The folder with the data set, drawn on first use (about two seconds)."""
    folder = cache_folder() / "mannequin" / f"data-{_VERSION}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix="data-", dir=folder.parent))
        write_dataset(part)
        try:
            os.replace(part, folder)
        except OSError:  # another process was first
            shutil.rmtree(part)
    return folder


def write_dataset(folder: Path, count: int = COUNT, female_share: float = FEMALE_SHARE) -> None:
    """Draw `count` figures into an existing folder, the rarer sex evenly among them."""
    rng = np.random.default_rng(_SEED)
    males = round(count * (1 - female_share))
    for index in range(count):
        male = index * males // count != (index + 1) * males // count
        figure = random_figure(rng, sex="male" if male else "female")
        name = folder / f"figure-{index:04d}"
        Image.fromarray(draw(figure, SIZE)).save(name.with_suffix(".png"))
        name.with_suffix(".txt").write_text(", ".join(figure.tags) + "\n", encoding="utf-8")
