"""Is the face in a sample that of the person in the photographs?

Held against two distances that the pictures themselves give: the photographs to one another, and
the base's faces to the photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrics.contract import Measure, ScoredSample, Sex
from metrics.intervals import Floats, wilson
from metrics.sets.pairing import (
    MIN_FIGURES,
    drawn_measure,
    no_measure,
    pair_with_base,
    reference_distances,
)
from metrics.sets.set_distance import progress

NAME, ONE_FACE = "identity", "one_face"
NEARER = 1.1
"""How many times as far from the photographs as these from each other the base's faces must be:
two persons are twice as far apart as two photographs of one (benchmarks/identity.py)."""
UNREAD = "the faces of the samples were not looked at"


@dataclass(frozen=True, eq=False)
class FaceReference:
    """The faces that samples are compared with.

    `vectors` (faces, d) are those of the largest face of each photograph, `sexes` what the captions
    say of them. `pictures` counts the photographs that were looked at. `note` says why no face of a
    photograph or a sample is looked at, None where they are.
    """

    vectors: Floats
    sexes: tuple[Sex | None, ...]
    pictures: int
    note: str | None = None


def identity(
    scored: Sequence[ScoredSample], base: Sequence[ScoredSample], reference: FaceReference
) -> Measure:
    """Return how alike the faces are to those of the reference, 0 to 1.

    It compares mean distances of faces to the reference's: 0 is that of the base's faces, 1 that of
    two photographs of the reference. A prompt for a sex is compared with the faces of that sex, and
    is left out where the captions name only the other one. There is no value with fewer than
    MIN_FIGURES faces in the reference or in the base's samples, and where the base's faces are not
    NEARER times as far from the reference as its own (95 %): its photographs then show several
    persons, or the base draws this one. A sample without a face, or with a small one, is not
    measured; the value is multiplied by min(1, measured share / the base's). The interval is a
    Bayesian bootstrap over the suite's cells, the base's paired, and over the reference.
    """
    if reference.note is not None:
        return Measure(NAME, None, None, None, 0, len(scored), reference.note)
    if not any(_looked(item) for item in scored):
        return Measure(NAME, None, None, None, 0, len(scored), UNREAD)
    targets = _by_sex(reference)
    sexes = [str(item.sample.prompt.sex) for item in scored]
    pairing = pair_with_base(scored, base, [sex in targets for sex in sexes], _face)
    if not pairing.total:
        found, pictures = len(reference.vectors), reference.pictures
        why = f"{found} faces in {pictures} photographs of the person, needed {MIN_FIGURES}"
        if found >= MIN_FIGURES:
            why = "too few faces of a sex asked for in the photographs"
        return no_measure(NAME, pairing, why)
    if len(pairing.base) < MIN_FIGURES:
        why = f"{len(pairing.base)} of the base's faces are large enough, needed {MIN_FIGURES}"
        return no_measure(NAME, pairing, why)
    wanted = np.array([sex for sex in sexes if sex in targets])
    far, near, home = reference_distances(pairing, wanted, targets)
    if float(np.quantile(far[1:] - NEARER * home[1:], 0.025)) <= 0:
        why = "the photographs are no nearer to each other than the base's faces are to them"
        return no_measure(NAME, pairing, why)
    if not len(pairing.samples):
        return drawn_measure(NAME, pairing, np.zeros(1))
    return drawn_measure(NAME, pairing, progress(far, near, home))


def one_face(scored: Sequence[ScoredSample], note: str | None = None) -> Measure:
    """Return the share of samples with exactly one face, Wilson's interval.

    `note` says why none were looked at.
    """
    counts = [item.features.faces for item in scored if item.features and _looked(item)]
    if not counts:
        return Measure(ONE_FACE, None, None, None, 0, len(scored), note or UNREAD)
    single = sum(count == 1 for count in counts)
    bounds = wilson(single, len(counts))
    return Measure(ONE_FACE, single / len(counts), *bounds, len(counts), len(scored))


def _looked(item: ScoredSample) -> bool:
    return item.features is not None and item.features.faces is not None


def _face(item: ScoredSample) -> Floats | None:
    if item.features is None or item.features.face is None:
        return None
    return item.features.face.astype(np.float64)


def _by_sex(reference: FaceReference) -> dict[str, Floats]:
    """Return the reference's faces by the sex of a prompt; `None` is that of one without.

    Faces whose captions name no sex count for both; where no caption names one, so do all.
    """
    named = {sex for sex in reference.sexes if sex is not None}
    places: dict[str, list[int]] = {"None": list(range(len(reference.sexes)))}
    for sex in named or {"female", "male"}:
        places[sex] = [at for at, own in enumerate(reference.sexes) if own in (sex, None)]
    return {sex: reference.vectors[at] for sex, at in places.items() if len(at) >= MIN_FIGURES}
