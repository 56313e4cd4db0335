"""Does the figure show the sex that the prompt asks for? Perceived presentation, no more.

A zero-shot comparison of the figure's crop with an ensemble of sentences for each sex, in plain
English for models trained on photographs and in booru tags for those trained on tags. Where the
result is in doubt, crops of the figure with nothing around it and of head and shoulders are
compared too. A crop that sentences about nobody describe better is not judged: the landmarker took
something else for a person.

On photographs the face is read too, by a network of its own that is calibrated on labelled pictures
(`python -m tuner.judging.fitting.faces`): a second opinion beside the sentences, and the only one
where no open_clip model is set.
"""

from __future__ import annotations

from collections.abc import Mapping

from metrics.contract import Sample, Score, Sex
from metrics.evidence import Evidence, Judge
from metrics.logistic import read_logistic, rebalanced

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

FACE = "face"
"""Measurement of the calibration: the network's log odds that a face shows a woman."""
LEAST_SIDE = 16.0
"""Side of a face in pixels below which its sex is not read: half of the network's input."""
FACE_MARGIN = 0.2
"""MIN_MARGIN where a face is read: of 8 answers below it 4 were right."""
MOST_SURE = 0.98
"""Probability beyond which neither model counts for more: each errs on at least one in fifty."""


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
    female, why = _by_sentences(evidence)
    if female is None:
        return why
    return _answer(evidence, wanted, female, MIN_MARGIN, {})


def photographic(sample: Sample, evidence: Evidence) -> Score:
    """Return the probability that the person shows the sex that the prompt asks for.

    The log odds of the open_clip model, if one is set, and of the face are added, which assumes
    that the two err independently. Abstains where the prompt names no sex, where no figure is
    found, where neither can judge, and where both sexes stay nearly equally likely.
    """
    wanted = sample.prompt.sex
    if wanted is None:
        return Score(NAME, None, "the prompt names no sex")
    if evidence.person is None:
        return Score(NAME, None, "no figure found")
    sentences, no_sentences = _by_sentences(evidence)
    face, no_face = _by_face(evidence)
    if face is None and sentences is None:
        reasons = dict.fromkeys((no_sentences.reason, no_face))
        return Score(NAME, None, ", ".join(filter(None, reasons)), no_sentences.evidence)
    if face is None:
        assert sentences is not None
        return _answer(evidence, wanted, sentences, MIN_MARGIN, {"by_sentences": sentences})
    if sentences is None:
        return _answer(evidence, wanted, face, FACE_MARGIN, {"by_face": face})
    both = {"by_sentences": sentences, "by_face": face}
    odds = _odds(sentences) * _odds(face)
    return _answer(evidence, wanted, odds / (1.0 + odds), FACE_MARGIN, both)


def _odds(probability: float) -> float:
    bounded = min(MOST_SURE, max(1.0 - MOST_SURE, probability))
    return bounded / (1.0 - bounded)


def _by_sentences(evidence: Evidence) -> tuple[float | None, Score]:
    """Return the open_clip model's probability of a woman, or None with the abstention."""
    probabilities = evidence.sentence_probabilities(GROUPS)
    if probabilities is None:
        return None, Score(NAME, None, "no gender model set")
    nobody = _nobody(evidence)
    if nobody is not None and nobody >= REJECTED:
        return None, Score(NAME, None, "the model sees nobody there", {NOBODY_TRAIT: nobody})
    if abs(probabilities["female"] - probabilities["male"]) < SURE:
        probabilities = evidence.sentence_probabilities(GROUPS, closer=True) or probabilities
    return float(probabilities["female"]), Score(NAME, None)


def _by_face(evidence: Evidence) -> tuple[float | None, str]:
    """Return the face's calibrated probability of a woman, or None with the reason."""
    if not evidence.reads_faces:
        return None, "no face model"
    face = evidence.face
    if face is None:
        return None, "no face is seen"
    if face.side < LEAST_SIDE:
        return None, "the face is too small"
    return read_logistic("gender")({FACE: evidence.female_log_odds(face)})["female"], ""


def _answer(
    evidence: Evidence, wanted: Sex, female: float, least: float, parts: Mapping[str, float]
) -> Score:
    """Return the score of a probability of a woman; below the margin, set or `least`, abstain."""
    settings = evidence.settings
    measured = {"asked": wanted, "female": female, **parts}
    female = rebalanced(female, settings.sex_threshold)
    margin = least if settings.sex_margin is None else settings.sex_margin
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


JUDGE = Judge(NAME, score, photographic, models=("gender_model",))
