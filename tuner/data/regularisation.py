"""Regularisation pictures: a run that sees them beside its own keeps what the base knew.

They are a folder of captioned pictures, the whole pictures that `tuner data prepare` cut its
crops from, or samples of the base (`tuner.trial.prior_pictures`).
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from tuner.data.folder import ORIGINALS_FOLDER, TrainingImage, TrainingSet, read_folder
from tuner.errors import ConfigError


def with_regularisation(own: TrainingSet, folder: Path | None) -> TrainingSet:
    """The training set with the pictures in `folder` beside its own.

    None: the originals of its crops, which `tuner data prepare` wrote beside its `images`. Its
    hash takes theirs in. A picture that is held out, or of which a crop is, is left out. Raises
    ConfigError where there is none.
    """
    originals = folder is None
    place = own.root.parent / ORIGINALS_FOLDER if folder is None else folder
    if originals and not place.is_dir():
        raise ConfigError(
            f"regularisation originals: {place} is not there; data has to be the folder images "
            "that `tuner data prepare` wrote with --crop, or name a folder of pictures"
        )
    found = read_folder(place)
    held_out = {image.sha256 for image in own.held_out}
    names = {image.path.stem for image in own.held_out} if originals else set()
    images = tuple(
        image
        for image in sorted((*found.images, *found.held_out), key=lambda one: one.path)
        if image.sha256 not in held_out and not _is_source(image, names)
    )
    if not images:
        raise ConfigError(
            f"regularisation {place}: every picture there belongs to one that is held out"
        )
    return joined(own, replace(found, images=images, held_out=()))


def joined(own: TrainingSet, prior: TrainingSet) -> TrainingSet:
    """The training set with `prior` as its regularisation pictures, and a hash over both."""
    both = sha256(f"{own.sha256} {prior.sha256}".encode()).hexdigest()
    return replace(own, sha256=both, regularisation=prior)


def _is_source(image: TrainingImage, crops: set[str]) -> bool:
    """Whether one of `crops` (file names without ending) was cut from `image`.

    `tuner data prepare` names crops as their picture, with a number where there are several.
    """
    stem = image.path.stem
    numbered = {crop.rpartition("-")[0] for crop in crops if crop.rpartition("-")[2].isdecimal()}
    return stem in crops or stem in numbered
