"""Does a photographed figure have a pose that can be read?

A logistic regression combines how sure the landmarker is with whether it reads the same body in the
mirror image, fitted on real pictures and on the same ones with the figure spoilt
(metrics/calibration/photo_pose.json).
"""

from __future__ import annotations

from metrics.contract import Sample, Score
from metrics.evidence import Evidence
from metrics.figure.figure import stick_figure
from metrics.figure.pose_consistency import pose_consistency
from metrics.logistic import read_logistic

READABLE = "readable"


def photo_pose(sample: Sample, evidence: Evidence) -> Score:
    """Return the probability that the pose of the main figure can be read; 0 without a figure.

    Abstains only on a picture without a figure whose prompt is empty: it asks for no figure.
    """
    figure, look, person = evidence.figure, evidence.second_look, evidence.person
    if figure is None or look is None or person is None:
        if not sample.prompt.text.strip():
            return Score("pose_readable", None, "no figure found, and the prompt asks for none")
        return Score("pose_readable", 0.0, None, {"people": 0})
    measured = pose_consistency(figure, look)
    value = read_logistic("photo_pose")(measured)[READABLE]
    people, joints = len(evidence.people), stick_figure(person)
    return Score("pose_readable", value, None, {"people": people, "joints": joints, **measured})
