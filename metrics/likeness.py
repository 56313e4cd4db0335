"""Do the figures look like those of a reference: pictures of the same person or look, held out?

By the open_clip embedding of the figure's crop, which knows faces only as far as its training
did: it tells a look, an outfit and a style better than one person from another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from metrics.contract import Measure, ScoredSample
from metrics.intervals import Floats
from metrics.set_distance import between, distances, draw_weights, way, within
from metrics.sets import MIN_FIGURES, Pairing, embedding, paired, summarised, unmeasured

NAME = "likeness"


def likeness(
    scored: Sequence[ScoredSample],
    base: Sequence[ScoredSample],
    reference: Sequence[ScoredSample],
) -> Measure:
    """How far the figures came from the base's to the reference's look, 0 to 1.

    By the mean distance of embeddings to the reference's figures of the same sex: the base's is
    0, that of the reference's figures from each other is 1. Samples of a sex of which the
    reference has fewer than MIN_FIGURES figures are not asked about, so that drawing the sex that
    the data has is no likeness. Nothing is measured where the base is as near the reference as
    its own figures are to each other (95 %). The interval is a Bayesian bootstrap over the
    suite's cells, the base's paired, and over the reference.
    """
    there = _by_sex(reference)
    sexes = [one.sample.prompt.sex for one in scored]
    pairing = paired(scored, base, [sex in there for sex in sexes], embedding)
    if not pairing.total:
        return unmeasured(NAME, pairing, "too few figures of a sex asked for in the reference")
    if len(pairing.base) < MIN_FIGURES:
        why = f"{len(pairing.base)} of the base's figures have an embedding, needed {MIN_FIGURES}"
        return unmeasured(NAME, pairing, why)
    asked = np.array([str(sex) for sex in sexes if sex in there])
    far, near, home = _distances(pairing, asked, {str(sex): one for sex, one in there.items()})
    if float(np.quantile(far[1:] - home[1:], 0.025)) <= 0:
        return unmeasured(NAME, pairing, "the base looks like the reference already")
    if not len(pairing.now):
        return summarised(NAME, pairing, np.zeros(1))
    return summarised(NAME, pairing, way(far, near, home))


def _distances(
    pairing: Pairing, asked: npt.NDArray[np.str_], there: dict[str, Floats]
) -> tuple[Floats, Floats, Floats]:
    """For each draw: the base's distance to the reference, the samples', the reference's own.

    Each sex counts by the weight of its base figures in the draw.
    """
    rng = np.random.default_rng(0)
    weights = pairing.weights(rng)
    far, near, home = (np.zeros(len(weights.base)) for _ in range(3))
    for sex, target in there.items():
        of_base, of_now = (asked == sex)[pairing.has_base], (asked == sex)[pairing.has_now]
        columns = draw_weights(len(target), rng)
        far += between(distances(pairing.base[of_base], target), weights.base[:, of_base], columns)
        home += weights.base[:, of_base].sum(axis=1) * within(distances(target, target), columns)
        if len(pairing.now):
            to_target = distances(pairing.now[of_now], target)
            near += between(to_target, weights.now[:, of_now], columns)
    return far, near, home


def _by_sex(reference: Sequence[ScoredSample]) -> dict[str | None, Floats]:
    """The reference's embeddings by sex; None holds all of them."""
    known = [(one.sample.prompt.sex, v) for one in reference if (v := embedding(one)) is not None]
    groups: dict[str | None, list[Floats]] = {None: [v for _, v in known]}
    for sex, v in known:
        if sex is not None:
            groups.setdefault(sex, []).append(v)
    return {sex: np.stack(vs) for sex, vs in groups.items() if len(vs) >= MIN_FIGURES}
