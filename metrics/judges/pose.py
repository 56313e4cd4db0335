"""Can a pose be read? A figure that no pose network recognises is a failure, not a blank.

A pose network draws a skeleton over smears and tangles too. A real body under it shows in the
network's own confidence, in the agreement of its mask, the picture's colours and the skeleton, and
in proportions. Joints outside the frame never count as faults.
"""

from __future__ import annotations

from collections.abc import Mapping

from metrics.contract import Sample, Score
from metrics.evidence import Evidence, Judge
from metrics.figure.figure import stick_figure
from metrics.judges.photo_pose import photo_pose
from metrics.logistic import read_logistic

NAME = "pose_readable"
READABLE = "readable"


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return the probability that a human pose can be read, 0 where the landmarker reads none.

    Abstains only on a picture without a figure whose prompt is empty: it asks for no figure.
    """
    people = len(evidence.people)
    if not people and not sample.prompt.text.strip():
        return Score(NAME, None, "no figure found, and the prompt asks for none")
    measured = evidence.posture
    if evidence.person is None or measured is None:
        return Score(NAME, 0.0, None, {"people": 0})
    joints = stick_figure(evidence.person)
    value = readable(measured)
    return Score(NAME, value, None, {"people": people, "joints": joints, **measured})


def readable(measured: Mapping[str, float]) -> float:
    """Return the probability that a pose can be read, from the result of `pose_evidence`."""
    return read_logistic("pose")(measured)[READABLE]


JUDGE = Judge(NAME, score, photo_pose)
