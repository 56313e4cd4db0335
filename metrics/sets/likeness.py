"""Do the figures look like those of a reference: held-out pictures of the same person or look?

Measured by the open_clip embedding of the figure's crop, which knows faces only as far as its
training did: it separates looks, outfits and styles better than persons.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.contract import Measure, ScoredSample
from metrics.intervals import Floats
from metrics.sets.pairing import (
    MIN_FIGURES,
    drawn_measure,
    embedding,
    no_measure,
    pair_with_base,
    reference_distances,
)
from metrics.sets.set_distance import progress

NAME = "likeness"


def likeness(
    scored: Sequence[ScoredSample], base: Sequence[ScoredSample], reference: Sequence[ScoredSample]
) -> Measure:
    """Return how far the figures moved from the base's to the reference's look, 0 to 1.

    It compares mean distances of embeddings to the reference's figures of the same sex: 0 is the
    base's distance, 1 the distance between the reference's own figures. Samples of a sex with fewer
    than MIN_FIGURES figures in the reference are left out, so that drawing the sex of the data is
    no likeness. There is no value where the base is as near the reference as its own figures are to
    each other (95 %). The interval is a Bayesian bootstrap over the suite's cells, the base's
    paired, and over the reference.
    """
    targets = _by_sex(reference)
    sexes = [item.sample.prompt.sex for item in scored]
    pairing = pair_with_base(scored, base, [sex in targets for sex in sexes], embedding)
    if not pairing.total:
        return no_measure(NAME, pairing, "too few figures of a sex asked for in the reference")
    if len(pairing.base) < MIN_FIGURES:
        why = f"{len(pairing.base)} of the base's figures have an embedding, needed {MIN_FIGURES}"
        return no_measure(NAME, pairing, why)
    wanted = np.array([str(sex) for sex in sexes if sex in targets])
    named = {str(sex): target for sex, target in targets.items()}
    far, near, home = reference_distances(pairing, wanted, named)
    if float(np.quantile(far[1:] - home[1:], 0.025)) <= 0:
        return no_measure(NAME, pairing, "the base looks like the reference already")
    if not len(pairing.samples):
        return drawn_measure(NAME, pairing, np.zeros(1))
    return drawn_measure(NAME, pairing, progress(far, near, home))


def _by_sex(reference: Sequence[ScoredSample]) -> dict[str | None, Floats]:
    """Return the reference's embeddings by sex; None holds all of them."""
    vectors = [(item.sample.prompt.sex, embedding(item)) for item in reference]
    known = [(sex, v) for sex, v in vectors if v is not None]
    groups: dict[str | None, list[Floats]] = {None: [v for _, v in known]}
    for sex, v in known:
        if sex is not None:
            groups.setdefault(sex, []).append(v)
    return {sex: np.stack(vs) for sex, vs in groups.items() if len(vs) >= MIN_FIGURES}
