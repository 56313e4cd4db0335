"""Which points does no other point dominate?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pareto(points: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the points that no other point dominates; every coordinate is maximised.

    A point dominates another when it is nowhere lower and somewhere higher, so that equal points
    stay together. A point with a NaN is never on the front.
    """
    if not len(points):
        return []
    values = np.asarray(points, dtype=np.float64)
    rivals = values[~np.isnan(values).any(axis=1)]
    front = []
    for index, point in enumerate(values):
        better = (rivals >= point).all(axis=1) & (rivals > point).any(axis=1)
        if not np.isnan(point).any() and not better.any():
            front.append(index)
    return front
