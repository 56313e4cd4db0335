"""How far apart two sets of vectors are, and how sure that is. Pure functions.

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


def distances(one: Floats, other: Floats) -> Floats:
    """Euclidean distances, shape (n, m), of vectors of shapes (n, d) and (m, d)."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)), np.float64)


def draw_weights(count: int, rng: np.random.Generator) -> Floats:
    """Weights of DRAWS draws over `count` members, shape (DRAWS + 1, count).

    The first row weighs all alike: it gives the number itself, the others its interval.
    """
    even = np.full((1, count), 1.0 / count)
    return np.concatenate([even, rng.dirichlet(np.ones(count), size=DRAWS)])


def restricted(weights: Floats, members: Booleans) -> Floats:
    """The weights of some members (booleans), adding up to 1 again."""
    kept = weights[:, members]
    return np.asarray(kept / kept.sum(axis=1, keepdims=True), np.float64)


def between(apart: Floats, rows: Floats, columns: Floats) -> Floats:
    """Mean distance between two sets for each draw, shape (draws,)."""
    return np.asarray(((rows @ apart) * columns).sum(axis=1), np.float64)


def within(apart: Floats, weights: Floats) -> Floats:
    """Mean distance between different members of one set, shape (draws,). Needs two members."""
    same = (weights**2).sum(axis=1)
    return np.asarray(between(apart, weights, weights) / (1.0 - same), np.float64)


def energy(one: Floats, other: Floats, rows: Floats, columns: Floats) -> Floats:
    """Energy distance 2E|X-Y| - E|X-X'| - E|Y-Y'| for each draw (Szekely and Rizzo 2013).

    `one` (n, d) weighed by `rows`, `other` (m, d) by `columns`. May be a little below 0.
    """
    apart = between(distances(one, other), rows, columns)
    inside = within(distances(one, one), rows) + within(distances(other, other), columns)
    return np.asarray(2 * apart - inside, np.float64)


def chance(one: Floats, other: Floats, rng: np.random.Generator) -> float:
    """How often two random halves of both sets are as far apart: a permutation test's p-value."""
    both = np.concatenate([one, other])
    apart = distances(both, both)
    members = np.zeros((_PERMUTATIONS + 1, len(both)), bool)
    members[0, : len(one)] = True
    for row in members[1:]:
        row[rng.permutation(len(both))[: len(one)]] = True
    rows, columns = members / len(one), ~members / len(other)
    found = 2 * between(apart, rows, columns) - within(apart, rows) - within(apart, columns)
    return float((found >= found[0] - 1e-12).mean())


def way(base: Floats, now: Floats, there: Floats | float) -> Floats:
    """How much of the way from the base's distance to `there` has been gone: 0 to 1."""
    whole = np.maximum(base - there, 1e-9)
    return np.asarray(np.clip((base - now) / whole, 0.0, 1.0), np.float64)
