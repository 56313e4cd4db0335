"""Do the seeds of one prompt give different figures, or one figure again and again?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metrics.contract import Measure, ScoredSample
from metrics.intervals import Floats
from metrics.set_distance import distances, draw_weights, restricted, within
from metrics.sets import Pairing, embedding, paired, summarised, unmeasured

NAME = "diversity"
_NO_SPREAD = 1e-3


def diversity(scored: Sequence[ScoredSample], base: Sequence[ScoredSample]) -> Measure:
    """Mean distance between the seeds of a prompt, as a share of the base's, at most 1.

    Distances are those of the open_clip embeddings of figures' crops: noise without a figure is
    not diverse. Prompts count alike; asked about are those with two seeds and more. The interval
    is a Bayesian bootstrap over the prompts and over the seeds of each, the base's paired.
    """
    texts = np.array([one.sample.prompt.text for one in scored])
    several = [int((texts == text).sum()) > 1 for text in texts]
    pairing = paired(scored, base, several, embedding)
    if not pairing.total:
        return unmeasured(NAME, pairing, "no prompt has two seeds")
    spreads = _spreads(pairing, texts[np.array(several)])
    if np.mean([before[0] for _, before in spreads] or [0.0]) < _NO_SPREAD:
        why = "the base has no two different figures of one prompt with an embedding"
        return unmeasured(NAME, pairing, why)
    both = [(now, before) for now, before in spreads if now is not None]
    if not both:
        return summarised(NAME, pairing, np.zeros(1))
    # Two seeds are one pair, which no weights of its members move: the prompts are drawn too.
    of_prompts = draw_weights(len(both), np.random.default_rng(1))
    now, before = (
        np.einsum("dp,pd->d", of_prompts, np.stack(side)) for side in zip(*both, strict=True)
    )
    return summarised(NAME, pairing, np.minimum(1.0, now / np.maximum(before, 1e-9)))


def _spreads(pairing: Pairing, texts: npt.NDArray[np.str_]) -> list[tuple[Floats | None, Floats]]:
    """Mean distance within each prompt for each draw, of the samples and of the base.

    Only prompts of which the base has two figures; None where the samples have not.
    """
    rng = np.random.default_rng(0)
    found: list[tuple[Floats | None, Floats]] = []
    for text in dict.fromkeys(texts.tolist()):
        part = pairing.chosen(texts == text)
        weights = draw_weights(part.total, rng)
        if len(part.base) < 2:
            continue
        now = None
        if len(part.now) >= 2:
            now = _mean_distance(part.now, restricted(weights, part.has_now))
        found.append((now, _mean_distance(part.base, restricted(weights, part.has_base))))
    return found


def _mean_distance(vectors: Floats, weights: Floats) -> Floats:
    return within(distances(vectors, vectors), weights)
