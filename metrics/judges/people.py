"""Does the picture show one person, where the prompt asks for one?

The pose judges look at the main figure and are blind to a second one beside it.
"""

from __future__ import annotations

from metrics.contract import Sample, Score
from metrics.evidence import Evidence, Judge

NAME = "one_person"

SURE_SECOND = 0.6
"""Confidence above which a second person counts: on figures drawn alone others stay below 0.55, on
240 pairs they lie above 0.64 (renders of both styles at 64 and 256 px)."""


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return 1 where the person detector finds exactly one person, 0 where it surely finds more.

    Abstains where the prompt asks for nobody (it has no sex), where no detector is set and where no
    person is found: `pose_readable` judges a missing figure.
    """
    if sample.prompt.sex is None:
        return Score(NAME, None, "the prompt asks for nobody")
    persons = evidence.persons
    if persons is None:
        return Score(NAME, None, "no person detector set")
    if not persons:
        return Score(NAME, None, "no person found", {"persons": 0})
    sure = [person.confidence for person in persons]
    alone = len(persons) == 1 or sure[1] < SURE_SECOND
    return Score(NAME, float(alone), None, {"persons": len(persons), "confidence": sure})


JUDGE = Judge(NAME, score, models=("person_model",))
