"""Regularisation pictures: trained on beside a run's own, they preserve the base's knowledge.

They are a folder of captioned pictures, the whole pictures from which `tuner data prepare` cut its
crops, or samples of the base (`tuner.trial.prior_pictures`).
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from tuner.data.folder import ORIGINALS_FOLDER, TrainingImage, TrainingSet, read_folder
from tuner.errors import ConfigError

PRIOR_PICTURES = 100
"""Number of pictures that a base draws. Ruiz et al. (2023) draw about 200 for each training
picture, the script of diffusers 100 in all."""


def with_regularisation(own: TrainingSet, folder: Path | None) -> TrainingSet:
    """Add the pictures in `folder` as regularisation; the hash then covers both.

    None: the originals of the crops, which `tuner data prepare` wrote beside its `images`.
    Held-out pictures and originals of held-out crops are left out. Raises ConfigError if no
    picture is left.
    """
    originals = folder is None
    place = own.root.parent / ORIGINALS_FOLDER if folder is None else folder
    if originals and not place.is_dir():
        raise ConfigError(
            f"regularisation originals: {place} is not there; data must be the folder images "
            "that `tuner data prepare` wrote with --crop, or name a folder of pictures"
        )
    prior = read_folder(place)
    held_out = {image.sha256 for image in own.held_out}
    names = {image.path.stem for image in own.held_out} if originals else set()
    images = tuple(
        image
        for image in sorted((*prior.images, *prior.held_out), key=lambda image: image.path)
        if image.sha256 not in held_out and not _is_source(image, names)
    )
    if not images:
        raise ConfigError(f"regularisation {place}: every picture there belongs to a held-out one")
    return joined(own, replace(prior, images=images, held_out=()))


def joined(own: TrainingSet, prior: TrainingSet) -> TrainingSet:
    """Return the training set with `prior` as regularisation pictures and a hash over both."""
    both = sha256(f"{own.sha256} {prior.sha256}".encode()).hexdigest()
    return replace(own, sha256=both, regularisation=prior)


def _is_source(image: TrainingImage, crops: set[str]) -> bool:
    """Return True if one of `crops` (file names without suffix) was cut from `image`.

    `tuner data prepare` names a crop like its picture, with a number if there are several.
    """
    stem = image.path.stem
    numbered = {crop.rpartition("-")[0] for crop in crops if crop.rpartition("-")[2].isdecimal()}
    return stem in crops or stem in numbered
