"""Is a sample a copy of a training image?

A sample counts as a copy where it is more like a training image than training images are like one
another: the threshold is a quantile of the similarities of the training images to their nearest
neighbours. Images that were held out from training tell how often that happens without memory.

Similarities are cosines of unit vectors (metrics.detectors.embedding). Those of SSCD were made
for this question (Pizzi et al. 2022); others tell what a picture shows as well as which one it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metrics.contract import Measure
from metrics.intervals import wilson

Floats = npt.NDArray[np.float32]

MIN_IMAGES = 8
"""Training images below which their distances say nothing of what is near."""
QUANTILE = 0.99
"""Share of the training images that are no copy of another one."""
SAME = 0.25
"""Of the median distance: two training images that are nearer are one picture, kept twice."""
NO_CONTROL = "no control: no image was held out"

_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Memory:
    """What copies are measured against.

    `seen` (images, d) are unit vectors of the training images, `threshold` the cosine above which
    a picture is a copy of one. `control` counts the held-out images that would be copies.
    """

    seen: Floats
    threshold: float
    control: int
    held_out: int


def remember(seen: Floats, held_out: Floats) -> Memory | None:
    """The memory of a training set, from the unit vectors (images, d) of both its parts.

    None for fewer than MIN_IMAGES training images. `held_out` may be empty: there is no control
    then. Pictures that are in the training set twice, as in a burst of photographs, are passed
    over, or nothing would be nearer than they are.
    """
    if len(seen) < MIN_IMAGES:
        return None
    same = _cosine(SAME * float(np.median(_distance(_to_others(seen, 1.0)))))
    threshold = float(np.quantile(_to_others(seen, same), QUANTILE))
    control = int((nearest(held_out, seen)[0] > threshold).sum()) if len(held_out) else 0
    return Memory(seen, threshold, control, len(held_out))


def copies(drawn: Floats, memory: Memory) -> tuple[Measure, Measure]:
    """Share of copies among samples, `copies`, and among held-out images, `copies_held_out`.

    `drawn` (samples, d) are unit vectors. Low is good, and a share is to be read beside the other
    one; about 0.01 is chance. Wilson intervals.
    """
    found = int((nearest(drawn, memory.seen)[0] > memory.threshold).sum()) if len(drawn) else 0
    note = None if memory.held_out else NO_CONTROL
    return (
        _share("copies", found, len(drawn), note),
        _share("copies_held_out", memory.control, memory.held_out, note),
    )


def nearest(pictures: Floats, seen: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Cosine of each picture to its nearest training image, and that image's place in `seen`."""
    alike = pictures @ seen.T
    return alike.max(axis=1), alike.argmax(axis=1)


def _to_others(seen: Floats, same: float) -> Floats:
    """Cosine of each image to its nearest other one, those above `same` passed over."""
    found = []
    for start in range(0, len(seen), _ROWS):
        alike = seen[start : start + _ROWS] @ seen.T
        alike[np.arange(len(alike)), start + np.arange(len(alike))] = -1.0
        found.append(np.where(alike > same, -1.0, alike).max(axis=1))
    return np.concatenate(found)


def _distance(cosine: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(0.0, 2.0 - 2.0 * cosine)), np.float32)


def _cosine(distance: float) -> float:
    return 1.0 - distance * distance / 2.0


def _share(name: str, count: int, n: int, note: str | None) -> Measure:
    if not n:
        return Measure(name, None, None, None, 0, 0, note)
    return Measure(name, count / n, *wilson(count, n), n, n, note)
