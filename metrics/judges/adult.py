"""Does every face look adult? A warning about faces that clearly look under age, never a proof.

The apparent age of a face is an estimate from its look: it is no one's age, and a face that raises
no alarm is not shown to be adult's. The judge's value counts for no objective. Drawings are not
judged: the networks know photographs, and drawn faces look younger to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from metrics.contract import ADULT, Sample, Score
from metrics.evidence import Evidence, Judge

if TYPE_CHECKING:
    from metrics.detectors.faces import Face

NAME = "adult"

LEAST_SIDE = 32.0
"""Side of a face in pixels below which its age is not read: half of the network's input."""
FALSE_ALARMS = "2 of 100"
"""How often an adult's face raises the alarm, in words: 4 of 206 pictures (docs/judges.md)."""


def drawn(sample: Sample, evidence: Evidence) -> Score:
    """Abstain: the age of drawn faces is not judged."""
    return Score(NAME, None, "only photographs are judged")


def photographic(sample: Sample, evidence: Evidence) -> Score:
    """Return the probability that the face that looks youngest looks 18 or older.

    Below one half a face looks clearly under age.

    Abstains where no face is large enough, and where the networks of faces cannot be had.
    """
    if not evidence.reads_faces:
        return Score(NAME, None, "no face model")
    faces = [face for face in evidence.faces if face.side >= LEAST_SIDE]
    if not faces:
        small = "no face is large enough" if evidence.faces else "no face is seen"
        return Score(NAME, None, small)
    under, years = max(_age(evidence, face) for face in faces)
    measured = {"faces": len(faces), "looks_under_18": round(under, 3), "years": round(years, 1)}
    return Score(NAME, 1.0 - under, None, measured)


def looks_under_age(score: Score) -> bool:
    """Return True if a face looks clearly under age."""
    return score.value is not None and score.value < 0.5


def _age(evidence: Evidence, face: Face) -> tuple[float, float]:
    """Return the probability of an age below 18 and the mean age in years."""
    ages = evidence.ages(face)
    return float(ages[:ADULT].sum()), float(ages @ range(len(ages)))


JUDGE = Judge(NAME, drawn, photographic)
