"""Does the figure show the sex that the prompt asks for? Perceived presentation, no more.

A zero-shot comparison of the figure's crop with an ensemble of sentences for each sex, in plain
English for models trained on photographs and in booru tags for those trained on tags. Where that
leaves a doubt, crops of the figure with nothing around it and of head and shoulders are asked too.
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

SURE = 0.995
"""Difference of the two probabilities from which no closer look is taken."""
MIN_MARGIN = 0.1
"""Least difference of the two probabilities that counts as an answer, unless the settings say."""


def score(sample: Sample, evidence: Evidence) -> Score:
    """Probability that the figure shows the sex asked for.

    Abstains where the prompt names no sex, where no figure is found, where no model is set, and
    where the two sexes are nearly equally likely.
    """
    asked = sample.prompt.sex
    if asked is None:
        return Score(NAME, None, "the prompt names no sex")
    if evidence.person is None:
        return Score(NAME, None, "no figure found")
    probabilities = evidence.sentence_probabilities(GROUPS)
    if probabilities is None:
        return Score(NAME, None, "no gender model set")
    if abs(probabilities["female"] - probabilities["male"]) < SURE:
        probabilities = evidence.sentence_probabilities(GROUPS, closer=True) or probabilities
    female = float(probabilities["female"])
    seen = {"female": female}
    margin = MIN_MARGIN if evidence.sex_margin is None else evidence.sex_margin
    if abs(2 * female - 1) < margin:
        return Score(NAME, None, "the figure's sex is unclear", seen)
    value = female if asked == "female" else 1.0 - female
    return Score(NAME, value, None, seen)


JUDGE = Judge(NAME, "gender", score, models=("gender_model",))
