"""Is the ground behind the figures plain or busy?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.contract import Image, Measure
from metrics.intervals import mean_interval


def ground(images: Sequence[Image]) -> Measure:
    """Return how much the pictures' rims vary, 0 plain to 1, with a 95 % interval over pictures."""
    deviations = np.array([rim_deviation(image) for image in images], np.float64)
    low, high = mean_interval(deviations)
    value = float(deviations.mean())
    return Measure("ground", value, max(0.0, low), min(1.0, high), len(deviations), len(deviations))


def rim_deviation(image: Image) -> float:
    """Return how much a picture's left and right rims vary from their median colour, 0 to 1."""
    width = max(2, image.shape[1] // 10)
    sides = np.concatenate([image[:, :width], image[:, -width:]], axis=1).astype(float)
    return float((sides - np.median(sides, axis=(0, 1))).std()) / 255
