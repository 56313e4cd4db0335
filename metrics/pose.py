"""Can a pose be read? A figure that no pose network recognises is a failure, not a blank.

A pose network draws a skeleton over smears and tangles too. Whether there is a body under it shows
in its own doubt, in how well its mask, the picture's colours and the skeleton agree, and in
proportions. Joints outside the frame are never held against a figure.
"""

from __future__ import annotations

from collections.abc import Mapping

from metrics.contract import Judge, Sample, Score
from metrics.evidence import Evidence
from metrics.figure import stick_figure
from metrics.logistic import read_logistic

NAME = "pose_readable"
READABLE = "readable"


def score(sample: Sample, evidence: Evidence) -> Score:
    """Probability that a human pose can be read, 0 where the landmarker reads none.

    Abstains only on a picture without a figure whose prompt is empty: nobody asked for one.
    """
    people = len(evidence.people)
    if not people and not sample.prompt.text.strip():
        return Score(NAME, None, "no figure found, and the prompt asks for none")
    measured = evidence.posed
    if evidence.person is None or measured is None:
        return Score(NAME, 0.0, None, {"people": 0})
    joints = stick_figure(evidence.person)
    value = readable(measured)
    return Score(NAME, value, None, {"people": people, "joints": joints, **measured})


def readable(measured: Mapping[str, float]) -> float:
    """Probability that a pose can be read, from what `pose_evidence` measured."""
    return read_logistic("pose")(measured)[READABLE]


JUDGE = Judge(NAME, "pose", score)
