"""All measures of a set of samples besides the four objectives.

    measures(scored, base=base_scored, reference=held_out)

Pure functions of scored samples; none of them looks at a picture.
"""

from __future__ import annotations

from collections.abc import Sequence

from metrics.contract import Measure, Objective, ScoredSample
from metrics.objectives import objective
from metrics.sets.diversity import diversity
from metrics.sets.effect import effect
from metrics.sets.identity import FaceReference, identity, one_face
from metrics.sets.layout import layout
from metrics.sets.likeness import likeness

NAMES = (
    *("layout", "framing", "diversity", "prompt_fit", "likeness", "identity", "one_face"),
    "effect",
)

_NO_BASE = "there is no base to compare with"
_NO_REFERENCE = "there is no reference: no held-out pictures, no other base"
_NO_PHOTOGRAPHS = "there are no photographs of the person to compare with"
_NO_PROMPT = {
    "framing": "no prompt asks for a framing",
    "prompt_fit": "no prompt names a trait that is asked about",
}


def measures(
    scored: Sequence[ScoredSample],
    base: Sequence[ScoredSample] | None,
    reference: Sequence[ScoredSample] = (),
    faces: FaceReference | None = None,
) -> dict[str, Measure]:
    """Return every measure of NAMES; a measure without a value gives the cause in its note.

    `base` is the same suite without LoRA, in the same order, or None; `reference` is what layout
    and likeness are compared with: held-out pictures, or another base on the same suite; `faces`
    are those of the person's photographs, for identity. A measure that no figure of `scored`
    supports is 0; one that base, suite or reference do not allow has no value. Raises ValueError
    where base and suite differ.
    """
    found = {
        "identity": _identity(scored, base, faces),
        "one_face": one_face(scored, None if faces is None else faces.note),
    }
    return {
        name: found[name]
        if name in found
        else _share(name, scored, base)
        if name in _NO_PROMPT
        else _by_base(name, scored, base, reference)
        for name in NAMES
    }


def as_objective(measure: Measure) -> Objective | None:
    """Return the measure as an objective of a study, None where it has no value."""
    if measure.value is None or measure.low is None or measure.high is None:
        return None
    return Objective(
        measure.name, measure.value, measure.low, measure.high, measure.n, measure.total
    )


def _identity(
    scored: Sequence[ScoredSample],
    base: Sequence[ScoredSample] | None,
    faces: FaceReference | None,
) -> Measure:
    if faces is None:
        return _none("identity", _NO_PHOTOGRAPHS, len(scored))
    if base is None and faces.note is None:
        return _none("identity", _NO_BASE, len(scored))
    return identity(scored, base or scored, faces)


def _by_base(
    name: str,
    scored: Sequence[ScoredSample],
    base: Sequence[ScoredSample] | None,
    reference: Sequence[ScoredSample],
) -> Measure:
    if base is None:
        return _none(name, _NO_BASE, len(scored))
    if name == "diversity":
        return diversity(scored, base)
    if name == "effect":
        return effect(scored, base)
    if not reference:
        return _none(name, _NO_REFERENCE, len(scored))
    return (layout if name == "layout" else likeness)(scored, base, reference)


def _share(
    name: str, scored: Sequence[ScoredSample], base: Sequence[ScoredSample] | None
) -> Measure:
    """Return a measure that is a share of samples.

    Framing: the lower of the shares of `full body` and `upper body` prompts that give it. Prompt
    fit: the mean share of the prompts' traits that show. Intervals: Beta draws through the minimum,
    Wilson's where there is one rate.
    """
    if not objective(name, scored, None).total:
        return _none(name, _NO_PROMPT[name], 0)
    before = objective(name, scored if base is None else base, None)
    if not before.n:
        return _none(name, "no sample could be judged", before.total)
    share = objective(name, scored, base)
    return Measure(name, share.value, share.low, share.high, share.n, share.total)


def _none(name: str, why: str, total: int) -> Measure:
    return Measure(name, None, None, None, 0, total, why)
