"""Does the frame show as much of the figure as the prompt asks for?"""

from __future__ import annotations

from metrics.contract import Framing, FramingClass, Sample, Score
from metrics.evidence import Evidence, Judge

NAME = "framing_given"
NO_FRAMING = "the prompt asks for no framing"

WANTED_CLASS: dict[Framing, FramingClass] = {"full": "full", "half": "half"}
"""The class that a prompt asks for; `upper body` is no portrait, and shows no knee."""


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return 1 where the frame shows as much of the figure as the prompt asks for, else 0.

    Abstains where the prompt asks for no framing and where no pose is read; the class is kept.
    """
    measured = {"class": evidence.framing}
    wanted = sample.prompt.framing
    if wanted is None:
        return Score(NAME, None, NO_FRAMING, measured)
    if evidence.framing == "none":
        return Score(NAME, None, "no pose read", measured)
    return Score(NAME, float(evidence.framing == WANTED_CLASS[wanted]), None, measured)


JUDGE = Judge(NAME, score)
