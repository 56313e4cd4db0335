"""Pareto fronts of points whose every coordinate is maximised, and the room on a front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def pareto(points: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of the points that no other point dominates.

    Every coordinate is maximised. A point dominates another when it is nowhere lower and somewhere
    higher, so that equal points stay together. A point with a NaN is never on the front.
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


def fronts(values: Floats) -> list[list[int]]:
    """Sort the rows of `values` (n, objectives), all maximised, into non-dominated fronts.

    Each front is a list of row numbers; the best front comes first.
    """
    at_least = np.ones((len(values), len(values)), np.bool_)
    for column in values.T:
        at_least &= column[:, None] >= column
    # A row that is at least as good as another, and not the reverse, is better.
    better = np.asarray(at_least & ~at_least.T, np.bool_)
    left, beaten_by = np.arange(len(values)), better.sum(axis=0)
    peeled = []
    while len(left):
        beaten = beaten_by[left] > 0
        front, left = left[~beaten], left[beaten]
        peeled.append([int(index) for index in front])
        beaten_by -= better[front].sum(axis=0)
    return peeled


def crowding(values: Floats) -> list[float]:
    """Return the crowding distance of each row of a front (n, objectives); larger is rarer.

    It is the sum over the objectives of the distance between the row's two neighbours, as a share
    of the objective's range in this front. The best in an objective has infinite room. Unlike in
    NSGA-II the worst does not, because the worst row in an objective need not be the best in
    another. Equal rows have the same room.
    """
    room = np.zeros(len(values))
    for column in values.T:
        levels = np.unique(column)
        if len(levels) == 1:
            continue
        where = np.searchsorted(levels, column)
        above = levels[np.minimum(where + 1, len(levels) - 1)]
        below = levels[np.maximum(where - 1, 0)]
        # At the lower end the only gap counts for both sides.
        below = np.where(where == 0, 2 * column - above, below)
        room += (above - below) / (levels[-1] - levels[0])
        room[where == len(levels) - 1] = np.inf
    return [float(value) for value in room]
