"""What does a vision-language model say about the figure?

The judge is used only where the settings name such a model, and was not measured. By published
numbers small models miss wrong hands and limbs; the selfcheck says what this one finds.
"""

from __future__ import annotations

from metrics.contract import Sample, Score
from metrics.evidence import Evidence, Judge

NAME = "vlm"

QUESTIONS = {
    "limbs": "Does the person have exactly two arms and two legs, as far as they can be seen?",
    "natural": "Do the face and the hands of the person look natural, without deformation?",
    "dressed": "Is the person dressed?",
}
"""Questions to which a sound picture of a dressed person has the answer yes."""

SAID = 0.5
"""Least probability that the answer is yes or no: below it the model rather says something else."""


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return the least probability of yes over QUESTIONS: one fault makes a picture faulty.

    Abstains where no model is set, where no figure is found and where the model does not answer
    with yes or no.
    """
    if evidence.settings.vlm is None:
        return Score(NAME, None, "no vision-language model set")
    yes: dict[str, float] = {}
    for name, question in QUESTIONS.items():
        answer = evidence.answer(question)
        if answer is None:
            return Score(NAME, None, "no figure found")
        if answer.said < SAID:
            return Score(NAME, None, "the model says neither yes nor no", {"said": answer.said})
        yes[name] = answer.yes
    worst = min(yes, key=lambda name: yes[name])
    return Score(NAME, yes[worst], None, {**yes, "worst": f"no to: {worst}"})


JUDGE = Judge(NAME, score, models=("vlm",))
