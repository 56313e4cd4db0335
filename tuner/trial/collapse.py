"""Detect trials whose samples have collapsed to plain colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.contract import Image, ScoredSample
from tuner.text import counted

FLAT = 1 / 255
"""Below this standard deviation of its values in [0, 1] a picture shows nothing."""


def is_flat(image: Image) -> bool:
    """Return True for a picture of one colour, such as the black one that NaN weights decode to.

    The standard deviation is that of each channel over the pixels: one even tint is flat too.
    """
    pixels = image.reshape(-1, image.shape[-1]).astype(np.float32) / 255
    return float(pixels.std(axis=0).max()) < FLAT


def hard_failure(scored: Sequence[ScoredSample]) -> str | None:
    """Return the reason to stop a trial here whatever its scores are; None if it may go on.

    A trial has collapsed if at least half of its samples show nothing.
    """
    if not scored:
        return "no samples"
    flat = sum(is_flat(each.sample.image) for each in scored)
    if 2 * flat >= len(scored):
        return f"collapsed: {flat} of {counted(len(scored), 'sample')} show nothing but one colour"
    return None
