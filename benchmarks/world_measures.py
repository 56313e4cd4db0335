"""Measure one run: the project's objectives, and the further measures of the experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from metrics import objectives
from metrics.contract import Image, ScoredSample
from metrics.sets.ground import rim_deviation
from tuner.data import TrainingSet
from tuner.mannequin.dataset import VARIANTS, pictures
from tuner.results.run_measures import blur, mean, sex_right, undressed
from tuner.training.latents import fitted
from tuner.trial.alias_leak import picture_distance

Floats = npt.NDArray[np.float64]

MEASURES = {
    "pose": "readable pose with the right limbs",
    "gender": "sex right, the worse of the two",
    "clothing": "dressed on bare prompts",
    "quality": "sharp and clean",
    "undressed": "undressed on bare prompts",
    "boys right": "male on prompts for a boy",
    "girls right": "female on prompts for a girl",
    "blur": "blur effect, 0 sharp to 1 blurred",
    "changed": "distance from the base's sample of the same noise",
    "copies": "nearer to a training image than to as many unseen ones; about 0.5 by chance",
    "ground": "deviation of the picture's rim",
}
"""Every measure with its meaning. All lie in [0, 1]."""

OBJECTIVES = ("pose", "gender", "clothing", "quality")

_SIDE = 32  # px at which pictures are compared
_UNSEEN_SEED = 900_000


@dataclass(frozen=True)
class Memory:
    """Training images and as many unseen ones of the same kind, shape (count, values), 0 to 1."""

    trained: Floats
    unseen: Floats


def remember(training_set: TrainingSet, variant: str) -> Memory:
    """Return the training images, and unseen ones of the same variant, for `copies`."""
    trained = [np.asarray(fitted(image, (_SIDE, _SIDE))) for image in training_set.images]
    unseen = [image for image, _ in pictures(VARIANTS[variant], len(trained), _UNSEEN_SEED)]
    return Memory(_vectors(trained), _vectors(unseen))


def measure(
    scored: Sequence[ScoredSample], base: Sequence[ScoredSample], memory: Memory
) -> dict[str, float | None]:
    """Return every measure of a run; None if nothing could be judged.

    `base` is the base on the same cells; its own distance from itself is 0.
    """
    scores = objectives.objectives(scored, base)
    values: dict[str, float | None] = {name: scores[name].value for name in OBJECTIVES}
    values["undressed"] = undressed(scored)
    values["boys right"] = sex_right(scored, "male")
    values["girls right"] = sex_right(scored, "female")
    values["blur"] = blur(scored)
    images = [each.sample.image for each in scored]
    values["ground"] = mean(rim_deviation(image) for image in images)
    values["changed"] = _changed(images, [each.sample.image for each in base])
    values["copies"] = copies(images, memory)
    return {name: None if value is None else round(value, 5) for name, value in values.items()}


def collapsed() -> dict[str, float | None]:
    """Return the measures of a run whose numbers are not finite, which has no pictures."""
    return dict.fromkeys(OBJECTIVES, 0.0)


def copies(images: Sequence[Image], memory: Memory) -> float:
    """Return the share of images whose nearest training image is nearer than any unseen one.

    Chance is about one half. Compare with the base, whose samples may lie near a single image.
    Distances are Euclidean over RGB at 32 x 32.
    """
    drawn = _vectors(images)
    nearer = _nearest(drawn, memory.trained) < _nearest(drawn, memory.unseen)
    return float(nearer.mean())


def _nearest(drawn: Floats, others: Floats) -> Floats:
    squares = (drawn**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * drawn @ others.T
    return np.asarray(squares.min(axis=1), np.float64)


def _vectors(images: Sequence[Image]) -> Floats:
    small = [cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(small).reshape(len(small), -1).astype(np.float64) / 255


def _changed(images: Sequence[Image], others: Sequence[Image]) -> float | None:
    return mean(picture_distance(*pair) for pair in zip(images, others, strict=True))
