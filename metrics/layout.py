"""Does the figure stand in the picture as the figures of a reference do?

A figure's layout is its box, how much of it the frame shows, and its joints in the frame; two
sets of figures are compared by their energy distance. 0 is the base without LoRA, 1 the reference
against itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.contract import Features, FramingClass, Measure, ScoredSample
from metrics.intervals import Floats
from metrics.set_distance import chance, draw_weights, energy, way
from metrics.sets import MIN_FIGURES, Pairing, paired, summarised, unmeasured

NAME = "layout"

_SHOWN: dict[FramingClass, tuple[int, float]] = {
    "full": (13, 1.0),
    "knee-up": (11, 2 / 3),
    "half": (9, 1 / 3),
    "portrait": (7, 0.0),
    "none": (0, 0.0),
}
"""How many of the 13 joints each class can show, and where it lies between portrait and full."""
_ORDER = (0, 1, 2, 3, 4, 5, 6, 7, 10, 8, 11, 9, 12)  # nose, arms, hips, knees, ankles
_SIGNIFICANT = 0.05


def layout(
    scored: Sequence[ScoredSample],
    base: Sequence[ScoredSample],
    reference: Sequence[ScoredSample],
) -> Measure:
    """How far the figures went from the base's layout to the reference's, 0 to 1.

    Only samples whose prompt leaves the framing open are looked at: where it asks for one, the
    prompt has the word. Nothing is measured where fewer than MIN_FIGURES figures of the base or
    of the reference can be read, and where the base stands as the reference does already (a
    permutation test at 5 %). The interval is a Bayesian bootstrap over the suite's cells, the
    base's paired, and over the reference.
    """
    free = [one.sample.prompt.framing is None for one in scored]
    pairing = paired(scored, base, free, vector)
    there = [v for one in reference if (v := vector(one)) is not None and _is_free(one)]
    if problem := _problem(pairing, len(there)):
        return unmeasured(NAME, pairing, problem)
    target, rng = np.stack(there), np.random.default_rng(0)
    if chance(pairing.base, target, rng) > _SIGNIFICANT:
        return unmeasured(NAME, pairing, "the base stands as the reference does already")
    if len(pairing.now) < 2:
        return summarised(NAME, pairing, np.zeros(1))
    weights, to_reference = pairing.weights(rng), draw_weights(len(target), rng)
    far = energy(pairing.base, target, weights.base, to_reference)
    near = energy(pairing.now, target, weights.now, to_reference)
    return summarised(NAME, pairing, way(far, near, 0.0))


def vector(one: ScoredSample) -> Floats | None:
    """A figure's layout, shape (31,): box, framing and joints count alike. None without figure.

    The joints that the frame cannot show lie on its lower edge, those just outside on the edge.
    """
    seen = one.features
    if seen is None or seen.box is None or seen.joints is None:
        return None
    left, top, right, bottom = seen.box.astype(np.float64)
    box = np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
    joints = _in_frame(seen)
    return np.concatenate([box, [_SHOWN[seen.framing][1]], joints.ravel() / np.sqrt(len(joints))])


def _in_frame(seen: Features) -> Floats:
    assert seen.joints is not None
    joints: Floats = np.clip(seen.joints.astype(np.float64), 0.0, 1.0)
    hidden = list(_ORDER[_SHOWN[seen.framing][0] :])
    joints[hidden, 1] = 1.0
    return joints


def _is_free(one: ScoredSample) -> bool:
    return one.sample.prompt.framing is None


def _problem(pairing: Pairing, reference: int) -> str | None:
    if not pairing.total:
        return "every prompt asks for a framing"
    if reference < MIN_FIGURES:
        return f"{reference} figures can be read in the reference, needed {MIN_FIGURES}"
    if len(pairing.base) < MIN_FIGURES:
        return f"{len(pairing.base)} of the base's figures can be read, needed {MIN_FIGURES}"
    return None
