"""The training pictures of a trial in folders that any trainer reads, captions as trained on.

Only pictures that the trial trains on are there: none that is held out for judges, and none that
was set aside. Pictures that trainers would read differently (turned by EXIF, transparent, 16 bits,
bmp) are written as they are trained on.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tuner.data import TrainingSet
from tuner.data.captions import training_caption
from tuner.data.folder import TrainingImage, load_pixels
from tuner.errors import ConfigError, TunerError
from tuner.export.recipe_run import PictureFolder
from tuner.space import TrainConfig
from tuner.storage.files import write_text

MARK = "tuner.txt"
"""A file that only folders written here have, so that --force removes nothing else."""

_READ_BY_ALL = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_ORIENTATION, _UPRIGHT = 0x0112, 1


def write_pictures(
    folder: Path, data: TrainingSet, prior: Sequence[TrainingImage], train: TrainConfig
) -> tuple[tuple[PictureFolder, ...], tuple[PictureFolder, ...]]:
    """Write training and regularisation pictures below `folder`; return their folders.

    A folder `REPEATS_own` or `REPEATS_prior`, named as kohya's, holds the pictures that an epoch
    uses so often. Pictures are hard links where the disk allows it, else copies. The captions are
    those of the caption policy, with the alias (regularisation pictures without it).

    Raises ConfigError if a picture can no longer be read or the folder cannot be written.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        own = _written(part, "own", data.images, train)
        others = _written(part, "prior", prior, train.model_copy(update={"alias": None}))
        write_text(part / MARK, "written by tuner export --recipe\n")
        remove(folder)
        part.rename(folder)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ConfigError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _moved(own, folder), _moved(others, folder)


def remove(folder: Path) -> None:
    """Remove a folder that `write_pictures` wrote; nothing happens if there is none.

    Raises TunerError for any other folder or file.
    """
    if not folder.exists():
        return
    if not (folder / MARK).is_file():
        raise TunerError(f"{folder} exists and was not written by tuner; give another name")
    shutil.rmtree(folder)


def _written(
    parent: Path, kind: str, images: Sequence[TrainingImage], train: TrainConfig
) -> list[PictureFolder]:
    common = math.gcd(*(image.repeats for image in images)) or 1
    by_repeats: dict[int, list[TrainingImage]] = defaultdict(list)
    for image in images:
        by_repeats[image.repeats // common].append(image)
    folders = []
    for repeats, group in sorted(by_repeats.items()):
        place = parent / f"{repeats}_{kind}"
        place.mkdir(parents=True)
        for number, image in enumerate(group, 1):
            caption = training_caption(image.caption, train.captions, train.alias)
            name = place / f"{number:05d}"
            # An empty caption is a line too: kohya's trainer refuses an empty file.
            name.with_suffix(".txt").write_text(caption + "\n", encoding="utf-8", newline="\n")
            _put(image, name)
        folders.append(PictureFolder(place, len(group), repeats))
    return folders


def _moved(folders: Sequence[PictureFolder], parent: Path) -> tuple[PictureFolder, ...]:
    return tuple(
        PictureFolder(parent / folder.path.name, folder.count, folder.repeats) for folder in folders
    )


def _put(image: TrainingImage, place: Path) -> None:
    if not _is_plain(image.path):
        load_pixels(image).save(place.with_suffix(".png"))
        return
    target = place.with_suffix(image.path.suffix.lower())
    with contextlib.suppress(OSError):
        os.link(image.path.resolve(), target)
        return
    shutil.copyfile(image.path, target)


def _is_plain(path: Path) -> bool:
    """Return True if every trainer reads the file's pixels as `tuner` does."""
    if path.suffix.lower() not in _READ_BY_ALL:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as picture:
            upright = picture.getexif().get(_ORIENTATION, _UPRIGHT) == _UPRIGHT
            return picture.mode == "RGB" and upright and not picture.has_transparency_data
