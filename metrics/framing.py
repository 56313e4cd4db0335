"""How much of the figure does the frame show, and is it what the prompt asks for?

A pose network draws joints beyond the frame, and folds legs that it cannot see into it. A joint
therefore counts as shown where it lies inside the frame and the network is sure of it, or where
the frame leaves it room below the hips. A joint outside is never held against a figure.
"""

from __future__ import annotations

import numpy as np

from metrics.contract import Framing, FramingClass, Judge, Sample, Score
from metrics.evidence import Evidence
from metrics.figure import LEGS, Figure

NAME = "framing_given"
NOT_ASKED = "the prompt asks for no framing"

ASKED: dict[Framing, FramingClass] = {"full": "full", "half": "half"}
"""The class that gives what a prompt asks for; `upper body` is no portrait, and shows no knee."""

_SURE = 0.5
# Room between hips and the frame's lower edge, in lengths of the spine. On 200 full bodies of both
# drawing styles it is about 1.2 and more, on 200 half bodies 0.4 and less; knees end at about 0.8.
_ROOM_FOR_FEET, _ROOM_FOR_KNEES = 1.2, 0.6
_TORSO_SHOWN = 0.6
"""Share of the spine from which on the frame shows an upper body and no mere portrait."""


def score(sample: Sample, evidence: Evidence) -> Score:
    """1 where the frame shows as much of the figure as the prompt asks for, else 0.

    Abstains where the prompt asks for no framing and where no pose is read; the class is kept.
    """
    seen = {"class": seen_class(evidence)}
    asked = sample.prompt.framing
    if asked is None:
        return Score(NAME, None, NOT_ASKED, seen)
    if evidence.figure is None:
        return Score(NAME, None, "no pose read", seen)
    return Score(NAME, float(seen["class"] == ASKED[asked]), None, seen)


def seen_class(evidence: Evidence) -> FramingClass:
    """The framing class of a sample's main figure, `none` where no pose is read."""
    return "none" if evidence.figure is None else framing_class(evidence.figure)


def framing_class(figure: Figure) -> FramingClass:
    """`full` with an ankle in the frame, `knee-up` with a knee, `half` with most of the spine.

    What shows less than that is a `portrait`.
    """
    shoulders, hips = figure.joints[11:13].mean(axis=0), figure.joints[23:25].mean(axis=0)
    spine = float(np.linalg.norm(shoulders - hips))
    room = (figure.soft_mask.shape[0] - float(hips[1])) / max(1.0, spine)

    def shown(joint: int, enough: float) -> bool:
        sure = figure.visibility[joint] >= _SURE or room >= enough
        return bool(sure and figure.in_frame(joint))

    if any(shown(ankle, _ROOM_FOR_FEET) for _, _, ankle, _ in LEGS):
        return "full"
    if any(shown(knee, _ROOM_FOR_KNEES) for _, knee, _, _ in LEGS):
        return "knee-up"
    height, width = figure.soft_mask.shape
    along = shoulders + (hips - shoulders) * np.linspace(0.0, 1.0, 21)[:, None]
    inside = (along >= 0).all(axis=1) & (along < (width, height)).all(axis=1)
    return "half" if float(inside.mean()) >= _TORSO_SHOWN else "portrait"


JUDGE = Judge(NAME, "framing", score)
