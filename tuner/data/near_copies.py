"""Which pictures are nearly the same: scaled, saved again, made brighter.

The perceptual hash of Zauner 2010 (pHash), as the imagehash library has it, on a finer grid: the
signs of the lowest frequencies against their median. Four times the usual bits, because pictures
of one person before one ground share most of the coarse ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from scipy.fft import dctn

from metrics.contract import Image

Fingerprint = npt.NDArray[np.uint8]
"""255 bits, packed into 32 bytes."""

NEAR = 28
"""Bits in which two copies may differ. Of 31,000 pairs of different figures of the mannequin none
differs in fewer than 38; saved again as JPEG (quality 60), scaled by half or three, or made
brighter by a sixth, 250 of 250 differ in at most 26 from themselves."""

_GRID, _FREQUENCIES = 64, 16
_ROWS = 512


def fingerprint(image: Image) -> Fingerprint:
    """The picture's hash, shape (32,)."""
    grey = cv2.resize(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_GRID, _GRID), interpolation=cv2.INTER_AREA
    )
    lowest = dctn(grey.astype(np.float32), norm="ortho")[:_FREQUENCIES, :_FREQUENCIES].ravel()[1:]
    return np.packbits(lowest > np.median(lowest))


def first_near(one: Fingerprint, others: Sequence[Fingerprint]) -> int | None:
    """The index of the first of `others` that `one` is a near copy of; None where there is none."""
    if not others:
        return None
    differing = np.bitwise_count(np.stack(others) ^ one).sum(axis=1)
    near = np.flatnonzero(differing <= NEAR)
    return int(near[0]) if len(near) else None


def near_copies(prints: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Each picture that is a near copy of an earlier one: (first such one, it), by index."""
    if not prints:
        return []
    table = np.stack(prints)
    found: list[tuple[int, int]] = []
    for start in range(0, len(table), _ROWS):
        rows = table[start : start + _ROWS]
        # A byte column at a time: all at once would be 32 times the memory.
        differing = np.zeros((len(rows), start + len(rows)), np.uint16)
        for column in range(table.shape[1]):
            others = table[: start + len(rows), column]
            differing += np.bitwise_count(rows[:, column, None] ^ others)
        for row, near in enumerate(differing <= NEAR):
            earlier = np.flatnonzero(near[: start + row])
            if len(earlier):
                found.append((int(earlier[0]), start + row))
    return found
