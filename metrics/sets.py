"""A suite's samples as vectors, cell by cell beside the base's, and a measure made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.contract import Measure, ScoredSample
from metrics.intervals import Floats, central
from metrics.set_distance import Booleans, draw_weights, restricted

Vector = Callable[[ScoredSample], Floats | None]

MIN_FIGURES = 5
"""Below this many figures of the base or of a reference nothing is said of their set."""


@dataclass(frozen=True)
class Weights:
    """The draws' weights of the samples and of the base's, shapes (draws, n) and (draws, m)."""

    now: Floats
    base: Floats


@dataclass(frozen=True)
class Pairing:
    """The vectors of the samples that are asked about, and of the base's in the same cells.

    `now` (n, d) and `base` (m, d) hold those that there are; `has_now` and `has_base` say of
    which of the `total` cells.
    """

    now: Floats
    base: Floats
    has_now: Booleans
    has_base: Booleans

    @property
    def total(self) -> int:
        """How many samples are asked about."""
        return len(self.has_now)

    @property
    def factor(self) -> float:
        """min(1, evaluable share / the base's): a LoRA must not win by drawing no figures."""
        return min(1.0, len(self.now) / max(1, len(self.base)))

    def weights(self, rng: np.random.Generator) -> Weights:
        """Draws over the cells: a cell weighs as much for the base as for the samples."""
        drawn = draw_weights(self.total, rng)
        return Weights(restricted(drawn, self.has_now), restricted(drawn, self.has_base))

    def chosen(self, cells: Booleans) -> Pairing:
        """The pairing of some of its cells."""
        return Pairing(
            self.now[cells[self.has_now]],
            self.base[cells[self.has_base]],
            self.has_now[cells],
            self.has_base[cells],
        )


def paired(
    scored: Sequence[ScoredSample],
    base: Sequence[ScoredSample],
    asked: Sequence[bool],
    vector: Vector,
) -> Pairing:
    """Pairs the samples with the base's, both of one suite in the same order.

    Raises ValueError where the prompts or seeds differ.
    """
    if [one.sample.cell for one in scored] != [one.sample.cell for one in base]:
        raise ValueError(
            "a measure needs the base on the same prompts and seeds, in the same order"
        )
    cells = [index for index, wanted in enumerate(asked) if wanted]
    now, has_now = _vectors([scored[index] for index in cells], vector)
    before, has_before = _vectors([base[index] for index in cells], vector)
    return Pairing(now, before, has_now, has_before)


def embedding(one: ScoredSample) -> Floats | None:
    """The embedding of a figure's crop, shape (d,); None where there is none."""
    seen = one.features
    if seen is None or seen.embedding is None:
        return None
    return seen.embedding.astype(np.float64)


def summarised(name: str, pairing: Pairing, draws: Floats) -> Measure:
    """The measure whose first draw is its value; a single draw has shown nothing.

    Value and interval lie in [0, 1] and are multiplied by the pairing's factor.
    """
    value = float(draws[0])
    low, high = central(draws[1:], value) if len(draws) > 1 else (0.0, 1.0)
    factor, n = pairing.factor, len(pairing.now)
    return Measure(name, factor * value, factor * low, factor * high, n, pairing.total)


def unmeasured(name: str, pairing: Pairing | None, why: str) -> Measure:
    """A measure without a number."""
    n, total = (0, 0) if pairing is None else (len(pairing.now), pairing.total)
    return Measure(name, None, None, None, n, total, why)


def _vectors(samples: Sequence[ScoredSample], vector: Vector) -> tuple[Floats, Booleans]:
    found = [vector(one) for one in samples]
    there = [one for one in found if one is not None]
    has = np.array([one is not None for one in found], bool)
    return (np.stack(there) if there else np.zeros((0, 1))), has
