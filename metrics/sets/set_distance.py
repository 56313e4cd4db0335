"""Distances between two sets of vectors, and their uncertainty. Pure functions.

All are means over pairs of different members, so that a set compared with another from the same
source has the expected distance 0, whatever their sizes (the U-statistic). Weights turn them into
the draws of a Bayesian bootstrap (Rubin 1981): one row of weights, adding up to 1, for each draw.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from metrics.intervals import Floats

Booleans = npt.NDArray[np.bool_]

DRAWS = 1000
_PERMUTATIONS = 199


def distances(rows: Floats, columns: Floats) -> Floats:
    """Return Euclidean distances, shape (n, m), of vectors of shapes (n, d) and (m, d)."""
    squares = (rows**2).sum(axis=1)[:, None] + (columns**2).sum(axis=1) - 2 * rows @ columns.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)), np.float64)


def draw_weights(count: int, rng: np.random.Generator) -> Floats:
    """Draw weights DRAWS times over `count` members, shape (DRAWS + 1, count).

    The first row weighs all alike: it gives the value itself, the others its interval.
    """
    even = np.full((1, count), 1.0 / count)
    return np.concatenate([even, rng.dirichlet(np.ones(count), size=DRAWS)])


def restrict_weights(weights: Floats, members: Booleans) -> Floats:
    """Return the weights of some members (booleans), adding up to 1 again."""
    kept = weights[:, members]
    return np.asarray(kept / kept.sum(axis=1, keepdims=True), np.float64)


def between(apart: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return the mean distance between two sets for each draw, shape (draws,)."""
    return np.asarray(((rows @ apart) * columns).sum(axis=1), np.float64)


def within(apart: Floats, weights: Floats) -> Floats:
    """Return the mean distance between different members of one set, shape (draws,).

    Needs two members.
    """
    same = (weights**2).sum(axis=1)
    return np.asarray(between(apart, weights, weights) / (1.0 - same), np.float64)


def energy(first: Floats, second: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return the energy distance 2E|X-Y| - E|X-X'| - E|Y-Y'| for each draw.

    `first` (n, d) weighed by `rows`, `second` (m, d) by `columns`. May be a little below 0. Source:
    Szekely and Rizzo 2013.
    """
    apart = between(distances(first, second), rows, columns)
    inside = within(distances(first, first), rows) + within(distances(second, second), columns)
    return np.asarray(2 * apart - inside, np.float64)


def p_value(first: Floats, second: Floats, rng: np.random.Generator) -> float:
    """Return the p-value of a permutation test: how often two random halves are as far apart."""
    both = np.concatenate([first, second])
    apart = distances(both, both)
    members = np.zeros((_PERMUTATIONS + 1, len(both)), bool)
    members[0, : len(first)] = True
    for row in members[1:]:
        row[rng.permutation(len(both))[: len(first)]] = True
    rows, columns = members / len(first), ~members / len(second)
    energies = 2 * between(apart, rows, columns) - within(apart, rows) - within(apart, columns)
    return float((energies >= energies[0] - 1e-12).mean())


def progress(base: Floats, samples: Floats, target: Floats | float) -> Floats:
    """Return the share, 0 to 1, of the way from `base` to `target` that `samples` has covered.

    All three are distances to the reference.
    """
    whole = np.maximum(base - target, 1e-9)
    return np.asarray(np.clip((base - samples) / whole, 0.0, 1.0), np.float64)
