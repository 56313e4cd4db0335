"""The samples of a suite as vectors, paired cell by cell with the base's, and measures of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metrics.contract import Measure, ScoredSample
from metrics.intervals import Floats, central
from metrics.sets.set_distance import (
    Booleans,
    between,
    distances,
    draw_weights,
    restrict_weights,
    within,
)

Vector = Callable[[ScoredSample], Floats | None]

MIN_FIGURES = 5
"""Least number of figures of the base or of a reference to measure their set."""


@dataclass(frozen=True)
class Weights:
    """The weights of the samples and of the base's in each draw, shapes (draws, n), (draws, m)."""

    samples: Floats
    base: Floats


@dataclass(frozen=True)
class Pairing:
    """The vectors of the measured samples, and of the base's in the same cells.

    `samples` (n, d) and `base` (m, d) hold the known vectors; `has_sample` and `has_base` mark, for
    each of the `total` cells, if there is one.
    """

    samples: Floats
    base: Floats
    has_sample: Booleans
    has_base: Booleans

    @property
    def total(self) -> int:
        """Number of samples that the measure applies to."""
        return len(self.has_sample)

    @property
    def factor(self) -> float:
        """min(1, evaluable share / the base's): a LoRA must not win by drawing no figures."""
        return min(1.0, len(self.samples) / max(1, len(self.base)))

    def weights(self, rng: np.random.Generator) -> Weights:
        """Draw weights of the cells: a cell weighs as much for the base as for the samples."""
        drawn = draw_weights(self.total, rng)
        return Weights(
            restrict_weights(drawn, self.has_sample), restrict_weights(drawn, self.has_base)
        )

    def chosen(self, cells: Booleans) -> Pairing:
        """Return the pairing of the chosen cells."""
        return Pairing(
            self.samples[cells[self.has_sample]],
            self.base[cells[self.has_base]],
            self.has_sample[cells],
            self.has_base[cells],
        )


def pair_with_base(
    scored: Sequence[ScoredSample],
    base: Sequence[ScoredSample],
    included: Sequence[bool],
    vector: Vector,
) -> Pairing:
    """Pair the samples with the base's, both of one suite in the same order.

    `included` marks the samples that the measure applies to. Raises ValueError where the prompts or
    seeds differ.
    """
    if [item.sample.cell for item in scored] != [item.sample.cell for item in base]:
        raise ValueError(
            "a measure needs the base on the same prompts and seeds, in the same order"
        )
    cells = [index for index, include in enumerate(included) if include]
    samples, has_sample = _vectors([scored[index] for index in cells], vector)
    base_vectors, has_base = _vectors([base[index] for index in cells], vector)
    return Pairing(samples, base_vectors, has_sample, has_base)


def embedding(item: ScoredSample) -> Floats | None:
    """Return the embedding of a figure's crop, shape (d,); None where there is none."""
    features = item.features
    if features is None or features.embedding is None:
        return None
    return features.embedding.astype(np.float64)


def reference_distances(
    pairing: Pairing, wanted: npt.NDArray[np.str_], targets: dict[str, Floats]
) -> tuple[Floats, Floats, Floats]:
    """Return for each draw the base's distance to the reference, the samples', and its own.

    `wanted` has the sex of each cell, `targets` the reference's vectors by sex. Each sex counts
    by the weight of its base figures in the draw.
    """
    rng = np.random.default_rng(0)
    weights = pairing.weights(rng)
    far, near, home = (np.zeros(len(weights.base)) for _ in range(3))
    for sex, target in targets.items():
        of_base, of_samples = (wanted == sex)[pairing.has_base], (wanted == sex)[pairing.has_sample]
        columns = draw_weights(len(target), rng)
        far += between(distances(pairing.base[of_base], target), weights.base[:, of_base], columns)
        home += weights.base[:, of_base].sum(axis=1) * within(distances(target, target), columns)
        if len(pairing.samples):
            to_target = distances(pairing.samples[of_samples], target)
            near += between(to_target, weights.samples[:, of_samples], columns)
    return far, near, home


def drawn_measure(name: str, pairing: Pairing, draws: Floats) -> Measure:
    """Return the measure whose value is the first draw and whose interval the other draws give.

    A single draw has shown nothing: its interval is 0 to 1. Value and interval lie in [0, 1] and
    are multiplied by the pairing's factor.
    """
    value = float(draws[0])
    low, high = central(draws[1:], value) if len(draws) > 1 else (0.0, 1.0)
    factor, n = pairing.factor, len(pairing.samples)
    return Measure(name, factor * value, factor * low, factor * high, n, pairing.total)


def no_measure(name: str, pairing: Pairing | None, why: str) -> Measure:
    """Return a measure without a number."""
    n, total = (0, 0) if pairing is None else (len(pairing.samples), pairing.total)
    return Measure(name, None, None, None, n, total, why)


def _vectors(samples: Sequence[ScoredSample], vector: Vector) -> tuple[Floats, Booleans]:
    vectors = [vector(item) for item in samples]
    known = [row for row in vectors if row is not None]
    has = np.array([row is not None for row in vectors], bool)
    return (np.stack(known) if known else np.zeros((0, 1))), has
