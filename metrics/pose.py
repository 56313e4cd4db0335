"""Can a pose be read? A figure that no pose network recognises is a failure, not a blank."""

from __future__ import annotations

from metrics.contract import Judge, Sample, Score
from metrics.evidence import Evidence
from metrics.figure import stick_figure

NAME = "pose_readable"


def score(sample: Sample, evidence: Evidence) -> Score:
    """1 where the pose landmarker reads a figure, 0 where it reads none.

    Abstains only on a picture without a figure whose prompt is empty: nobody asked for one.
    """
    people = len(evidence.people)
    if not people and not sample.prompt.text.strip():
        return Score(NAME, None, "no figure found, and the prompt asks for none")
    if evidence.person is None:
        return Score(NAME, 0.0, None, {"people": 0})
    return Score(NAME, 1.0, None, {"people": people, "joints": stick_figure(evidence.person)})


JUDGE = Judge(NAME, "pose", score)
