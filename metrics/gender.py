"""Does the figure show the sex that the prompt asks for? Perceived presentation, no more.

A zero-shot comparison of the figure's crop with an ensemble of sentences for each sex, in plain
English for models trained on photographs and in booru tags for those trained on tags. Where that
leaves a doubt, crops of the figure with nothing around it and of head and shoulders are asked too.
A crop that is described better by sentences about nobody is not judged: the landmarker took
something else for a person.
"""

from __future__ import annotations

from metrics.contract import Judge, Sample, Score
from metrics.evidence import Evidence

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
"""What `JudgeSettings.tells` calls a model that can tell nobody from somebody."""
REJECTED = 0.5
"""Probability of NOBODY against both sexes from which nobody's sex is judged."""

SURE = 0.995
"""Difference of the two probabilities from which no closer look is taken."""
MIN_MARGIN = 0.1
"""Least difference of the two probabilities that counts as an answer, unless the settings say."""


def score(sample: Sample, evidence: Evidence) -> Score:
    """Probability that the figure shows the sex asked for.

    Abstains where the prompt names no sex, where no figure is found or the model sees nobody in
    it, where no model is set, and where the two sexes are nearly equally likely.
    """
    asked = sample.prompt.sex
    if asked is None:
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
    seen = {"asked": asked, "female": float(probabilities["female"])}
    female = balanced(float(probabilities["female"]), settings.sex_threshold)
    margin = MIN_MARGIN if settings.sex_margin is None else settings.sex_margin
    if abs(2 * female - 1) < margin:
        return Score(NAME, None, "the figure's sex is unclear", seen)
    value = female if asked == "female" else 1.0 - female
    return Score(NAME, value, None, seen)


def balanced(female: float, threshold: float | None) -> float:
    """The probability of a woman with `threshold` moved to one half, its odds divided by those of
    the threshold; None leaves it as it is.

    A model that takes men for women more often than women for men has a threshold above one half,
    the one at which both errors are equally frequent: `tuner selfcheck` measures it.
    """
    if threshold is None:
        return female
    for_woman, for_man = female * (1.0 - threshold), (1.0 - female) * threshold
    return for_woman / (for_woman + for_man)


def _nobody(evidence: Evidence) -> float | None:
    """Probability of nobody against both sexes; None for a model that cannot tell."""
    tells = evidence.settings.tells
    if tells is not None and NOBODY_TRAIT not in tells:
        return None
    found = evidence.sentence_probabilities({**GROUPS, NOBODY_TRAIT: NOBODY})
    return None if found is None else float(found[NOBODY_TRAIT])


JUDGE = Judge(NAME, "gender", score, models=("gender_model",))
