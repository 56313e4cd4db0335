"""Does the LoRA change the pictures at all? A trial that changes nothing must not win."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metrics.contract import Measure, ScoredSample
from metrics.intervals import Floats, central
from metrics.sets.pairing import no_measure, pair_with_base
from metrics.sets.set_distance import draw_weights

NAME = "effect"
NOTHING = "does nothing"
NOISE = 0.02
"""An effect below it is no evidence of a change. On renders it is 0.018 if every value moves by
one of 255 levels, 0.002 for noise of one level, and 0.15 for an arm taken away."""


def effect(scored: Sequence[ScoredSample], base: Sequence[ScoredSample]) -> Measure:
    """Return the distance from the base's sample of the same noise; 1: as far as another seed.

    Measured on the thumbnails, root mean square, in units of the mean distance between the base's
    seeds of one prompt (of all its samples, where no prompt has two seeds). 0 is no change, above 1
    is possible. The note says `does nothing` where the interval, a Bayesian bootstrap over the
    suite's cells, ends below NOISE.
    """
    pairing = pair_with_base(scored, base, [True] * len(scored), _thumbnail)
    known = pairing.has_sample & pairing.has_base
    if not known.any():
        return no_measure(NAME, pairing, "no sample that the base has too")
    texts = np.array([item.sample.prompt.text for item in scored])
    unit = _between_seeds(pairing.base, texts[pairing.has_base])
    if unit < 1e-6:
        return no_measure(NAME, pairing, "the base draws the same picture for every seed")
    both = pairing.chosen(known)
    moved = np.sqrt(((both.samples - both.base) ** 2).mean(axis=1)) / unit
    draws = draw_weights(len(moved), np.random.default_rng(0)) @ moved
    value = float(draws[0])
    low, high = central(draws[1:], value)
    note = NOTHING if high < NOISE else None
    return Measure(NAME, value, low, high, len(moved), pairing.total, note)


def _between_seeds(thumbnails: Floats, texts: npt.NDArray[np.str_]) -> float:
    squares = ((thumbnails[:, None] - thumbnails[None]) ** 2).mean(axis=-1)
    other = ~np.eye(len(texts), dtype=bool)
    same_prompt = (texts[:, None] == texts[None]) & other
    pairs = same_prompt if same_prompt.any() else other
    return float(np.sqrt(squares[pairs]).mean()) if pairs.any() else 0.0


def _thumbnail(item: ScoredSample) -> Floats | None:
    return None if item.features is None else item.features.thumbnail.astype(np.float64).ravel()
