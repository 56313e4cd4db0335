"""Do the seeds of one prompt give different figures, or the same figure again and again?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metrics.contract import Measure, ScoredSample
from metrics.intervals import Floats
from metrics.sets.pairing import Pairing, drawn_measure, embedding, no_measure, pair_with_base
from metrics.sets.set_distance import distances, draw_weights, restrict_weights, within

NAME = "diversity"
_NO_SPREAD = 1e-3


def diversity(scored: Sequence[ScoredSample], base: Sequence[ScoredSample]) -> Measure:
    """Return the mean distance between the seeds of a prompt, as a share of the base's, at most 1.

    Distances are those of the open_clip embeddings of figures' crops: noise without a figure is not
    diverse. Prompts count alike; only prompts with two seeds or more are measured. The interval is
    a Bayesian bootstrap over the prompts and over the seeds of each, the base's paired.
    """
    texts = np.array([item.sample.prompt.text for item in scored])
    several = [int((texts == text).sum()) > 1 for text in texts]
    pairing = pair_with_base(scored, base, several, embedding)
    if not pairing.total:
        return no_measure(NAME, pairing, "no prompt has two seeds")
    spreads = _spreads(pairing, texts[np.array(several)])
    if np.mean([before[0] for _, before in spreads] or [0.0]) < _NO_SPREAD:
        why = "the base has no two different figures of one prompt with an embedding"
        return no_measure(NAME, pairing, why)
    both = [(ours, before) for ours, before in spreads if ours is not None]
    if not both:
        return drawn_measure(NAME, pairing, np.zeros(1))
    # Two seeds are one pair, whose distance no weights change: the prompts are drawn too.
    of_prompts = draw_weights(len(both), np.random.default_rng(1))
    ours, before = (
        np.einsum("dp,pd->d", of_prompts, np.stack(side)) for side in zip(*both, strict=True)
    )
    return drawn_measure(NAME, pairing, np.minimum(1.0, ours / np.maximum(before, 1e-9)))


def _spreads(pairing: Pairing, texts: npt.NDArray[np.str_]) -> list[tuple[Floats | None, Floats]]:
    """Return the mean distance within each prompt for each draw, of the samples and of the base.

    Only prompts for which the base has two figures; None where the samples have fewer.
    """
    rng = np.random.default_rng(0)
    spreads: list[tuple[Floats | None, Floats]] = []
    for text in dict.fromkeys(texts.tolist()):
        part = pairing.chosen(texts == text)
        weights = draw_weights(part.total, rng)
        if len(part.base) < 2:
            continue
        ours = None
        if len(part.samples) >= 2:
            ours = _mean_distance(part.samples, restrict_weights(weights, part.has_sample))
        spreads.append((ours, _mean_distance(part.base, restrict_weights(weights, part.has_base))))
    return spreads


def _mean_distance(vectors: Floats, weights: Floats) -> Floats:
    return within(distances(vectors, vectors), weights)
