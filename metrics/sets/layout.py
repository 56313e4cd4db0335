"""Is the figure placed in the picture as the figures of a reference are?

A figure's layout is its box, how much of it the frame shows, and its joints in the frame; two sets
of figures are compared by their energy distance. 0 is the base without LoRA, 1 the reference
against itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metrics.contract import Features, FramingClass, Measure, ScoredSample
from metrics.intervals import Floats
from metrics.sets.pairing import MIN_FIGURES, Pairing, drawn_measure, no_measure, pair_with_base
from metrics.sets.set_distance import draw_weights, energy, p_value, progress

NAME = "layout"

_SHOWN: dict[FramingClass, tuple[int, float]] = {
    "full": (13, 1.0),
    "knee-up": (11, 2 / 3),
    "half": (9, 1 / 3),
    "portrait": (7, 0.0),
    "none": (0, 0.0),
}
"""Number of the 13 joints that each class can show, and its place between portrait and full."""
_ORDER = (0, 1, 2, 3, 4, 5, 6, 7, 10, 8, 11, 9, 12)  # nose, arms, hips, knees, ankles
_SIGNIFICANT = 0.05


def layout(
    scored: Sequence[ScoredSample], base: Sequence[ScoredSample], reference: Sequence[ScoredSample]
) -> Measure:
    """Return how far the figures moved from the base's layout to the reference's, 0 to 1.

    Only samples whose prompt asks for no framing are used: elsewhere the prompt decides. There is
    no value where fewer than MIN_FIGURES figures of the base or of the reference can be read, and
    where the base has the reference's layout already (a permutation test at 5 %). The interval is a
    Bayesian bootstrap over the suite's cells, the base's paired, and over the reference.
    """
    free = [_is_free(item) for item in scored]
    pairing = pair_with_base(scored, base, free, vector)
    free_reference = [item for item in reference if _is_free(item)]
    targets = [target for item in free_reference if (target := vector(item)) is not None]
    if problem := _problem(pairing, len(targets)):
        return no_measure(NAME, pairing, problem)
    target, rng = np.stack(targets), np.random.default_rng(0)
    if p_value(pairing.base, target, rng) > _SIGNIFICANT:
        return no_measure(NAME, pairing, "the base stands as the reference does already")
    if len(pairing.samples) < 2:
        return drawn_measure(NAME, pairing, np.zeros(1))
    weights, to_reference = pairing.weights(rng), draw_weights(len(target), rng)
    far = energy(pairing.base, target, weights.base, to_reference)
    near = energy(pairing.samples, target, weights.samples, to_reference)
    return drawn_measure(NAME, pairing, progress(far, near, 0.0))


def vector(item: ScoredSample) -> Floats | None:
    """Return a figure's layout, shape (31,): box, framing and joints count alike. None: no figure.

    Joints that the frame cannot show are put on its lower edge, those just outside on the edge.
    """
    features = item.features
    if features is None or features.box is None or features.joints is None:
        return None
    left, top, right, bottom = features.box.astype(np.float64)
    box = np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])
    joints = _in_frame(features)
    share = _SHOWN[features.framing][1]
    return np.concatenate([box, [share], joints.ravel() / np.sqrt(len(joints))])


def _in_frame(features: Features) -> Floats:
    assert features.joints is not None
    joints: Floats = np.clip(features.joints.astype(np.float64), 0.0, 1.0)
    hidden = list(_ORDER[_SHOWN[features.framing][0] :])
    joints[hidden, 1] = 1.0
    return joints


def _is_free(item: ScoredSample) -> bool:
    return item.sample.prompt.framing is None


def _problem(pairing: Pairing, reference: int) -> str | None:
    if not pairing.total:
        return "every prompt asks for a framing"
    if reference < MIN_FIGURES:
        return f"{reference} figures can be read in the reference, needed {MIN_FIGURES}"
    if len(pairing.base) < MIN_FIGURES:
        return f"{len(pairing.base)} of the base's figures can be read, needed {MIN_FIGURES}"
    return None
