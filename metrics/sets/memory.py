"""Is a sample a copy of a training image?

A sample counts as a copy where it is more like a training image than training images are like one
another: the threshold is a quantile of the similarities of the training images to their nearest
neighbours. Images held out from training show how often that happens without memory.

Similarities are cosines of unit vectors (metrics.detectors.embedding). Those of SSCD were made for
this task (Pizzi et al. 2022); others respond to the content of a picture as well as to the picture
itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metrics.contract import Measure
from metrics.intervals import wilson

Floats = npt.NDArray[np.float32]

MIN_IMAGES = 8
"""Least number of training images: distances between fewer do not define what is near."""
QUANTILE = 0.99
"""Share of the training images that are no copy of another one."""
SAME = 0.25
"""Share of the median distance: two nearer training images are the same picture, kept twice."""
NO_CONTROL = "no control: no image was held out"

_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Memory:
    """The training images that samples are compared with, and the threshold of a copy.

    `training` (images, d): unit vectors of the training images. `threshold`: the cosine above which
    a picture is a copy of one of them. `control`: the number of held-out images, of `held_out`,
    that would count as copies.
    """

    training: Floats
    threshold: float
    control: int
    held_out: int


def remember(training: Floats, held_out: Floats) -> Memory | None:
    """Build the memory of a training set, from the unit vectors (images, d) of both its parts.

    None for fewer than MIN_IMAGES training images. `held_out` may be empty: there is no control
    then. Pictures that are in the training set twice, as in a burst of photographs, are skipped:
    otherwise no sample would be nearer than they are.
    """
    if len(training) < MIN_IMAGES:
        return None
    same = _cosine(SAME * float(np.median(_distance(_to_others(training, 1.0)))))
    threshold = float(np.quantile(_to_others(training, same), QUANTILE))
    control = int((nearest(held_out, training)[0] > threshold).sum()) if len(held_out) else 0
    return Memory(training, threshold, control, len(held_out))


def copies(drawn: Floats, memory: Memory) -> tuple[Measure, Measure]:
    """Return the share of copies among samples, `copies`, and held-out images, `copies_held_out`.

    `drawn` (samples, d) are unit vectors. Low is good; compare each share with the other one. About
    0.01 is chance. Wilson intervals.
    """
    count = int((nearest(drawn, memory.training)[0] > memory.threshold).sum()) if len(drawn) else 0
    note = None if memory.held_out else NO_CONTROL
    return (
        _share("copies", count, len(drawn), note),
        _share("copies_held_out", memory.control, memory.held_out, note),
    )


def nearest(pictures: Floats, training: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the cosine of each picture to its nearest training image, and that image's row."""
    alike = pictures @ training.T
    return alike.max(axis=1), alike.argmax(axis=1)


def _to_others(training: Floats, same: float) -> Floats:
    """Return the cosine of each image to its nearest other one, skipping those above `same`."""
    cosines = []
    for start in range(0, len(training), _ROWS):
        alike = training[start : start + _ROWS] @ training.T
        alike[np.arange(len(alike)), start + np.arange(len(alike))] = -1.0
        cosines.append(np.where(alike > same, -1.0, alike).max(axis=1))
    return np.concatenate(cosines)


def _distance(cosine: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(0.0, 2.0 - 2.0 * cosine)), np.float32)


def _cosine(distance: float) -> float:
    return 1.0 - distance * distance / 2.0


def _share(name: str, count: int, n: int, note: str | None) -> Measure:
    if not n:
        return Measure(name, None, None, None, 0, 0, note)
    return Measure(name, count / n, *wilson(count, n), n, n, note)
