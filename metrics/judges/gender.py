"""Does the figure show the sex that the prompt asks for? Perceived presentation, no more.

A zero-shot comparison of the figure's crop with an ensemble of sentences for each sex, in plain
English for models trained on photographs and in booru tags for those trained on tags. Where the
result is in doubt, crops of the figure with nothing around it and of head and shoulders are
compared too. A crop that sentences about nobody describe better is not judged: the landmarker took
something else for a person.
"""

from __future__ import annotations

from metrics.contract import Sample, Score
from metrics.evidence import Evidence, Judge
from metrics.logistic import rebalanced

NAME = "gender"

GROUPS: dict[str, tuple[str, ...]] = {
    "female": (
        "1girl",
        "1girl, solo",
        "a photo of a woman",
        "a portrait of a woman",
        "a full body photo of a woman",
        "a cropped photo of a female person",
        "a drawing of a woman",
    ),
    "male": (
        "1boy",
        "1boy, solo",
        "a photo of a man",
        "a portrait of a man",
        "a full body photo of a man",
        "a cropped photo of a male person",
        "a drawing of a man",
    ),
}

NOBODY: tuple[str, ...] = (
    "no humans",
    "scenery, no humans",
    "a photo of an empty room",
    "a photo of a landscape",
    "a photo of an object",
    "a photo of an animal",
    "a drawing of a pattern",
)
"""The reject class, as many sentences as for a sex."""
NOBODY_TRAIT = "nobody"
"""Name in `JudgeSettings.traits` for a model that can tell nobody from somebody."""
REJECTED = 0.5
"""Probability of NOBODY against both sexes above which the sex is not judged."""

SURE = 0.995
"""Difference of the two probabilities above which no closer crops are compared."""
MIN_MARGIN = 0.1
"""Least difference of the two probabilities that counts as an answer; settings override it."""


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return the probability that the figure shows the sex that the prompt asks for.

    Abstains where the prompt names no sex, where no figure is found or the model finds nobody in
    it, where no model is set, and where the two sexes are nearly equally likely.
    """
    wanted = sample.prompt.sex
    if wanted is None:
        return Score(NAME, None, "the prompt names no sex")
    if evidence.person is None:
        return Score(NAME, None, "no figure found")
    probabilities = evidence.sentence_probabilities(GROUPS)
    if probabilities is None:
        return Score(NAME, None, "no gender model set")
    nobody = _nobody(evidence)
    if nobody is not None and nobody >= REJECTED:
        return Score(NAME, None, "the model sees nobody there", {NOBODY_TRAIT: nobody})
    if abs(probabilities["female"] - probabilities["male"]) < SURE:
        probabilities = evidence.sentence_probabilities(GROUPS, closer=True) or probabilities
    settings = evidence.settings
    measured = {"asked": wanted, "female": float(probabilities["female"])}
    female = rebalanced(float(probabilities["female"]), settings.sex_threshold)
    margin = MIN_MARGIN if settings.sex_margin is None else settings.sex_margin
    if abs(2 * female - 1) < margin:
        return Score(NAME, None, "the figure's sex is unclear", measured)
    value = female if wanted == "female" else 1.0 - female
    return Score(NAME, value, None, measured)


def _nobody(evidence: Evidence) -> float | None:
    """Return the probability of nobody against both sexes; None for a model that cannot tell."""
    traits = evidence.settings.traits
    if traits is not None and NOBODY_TRAIT not in traits:
        return None
    probabilities = evidence.sentence_probabilities({**GROUPS, NOBODY_TRAIT: NOBODY})
    return None if probabilities is None else float(probabilities[NOBODY_TRAIT])


JUDGE = Judge(NAME, score, models=("gender_model",))
