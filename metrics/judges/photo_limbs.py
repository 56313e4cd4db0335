"""Does a photographed figure have two arms and two legs, as far as the frame shows them?

The evidence is whether a second look at the figure agrees with the first; see
metrics/figure/second_look.py. One logistic regression combines the measurements, fitted on real
pictures and on wrong limbs painted into them (metrics/calibration/photo_limbs.json).
"""

from __future__ import annotations

from metrics.contract import Sample, Score
from metrics.evidence import Evidence
from metrics.figure.body import shows_legs
from metrics.figure.limb_consistency import limb_consistency, limbs_shown
from metrics.logistic import read_logistic

SOUND = "sound"
ARM_FAULTS = ("extra arm", "missing forearm")
LEG_FAULTS = ("extra leg", "missing lower leg")
"""Possible only where the frame shows legs."""


def photo_limbs(sample: Sample, evidence: Evidence) -> Score:
    """Return the probability that no limb is surplus and none is missing.

    Abstains where no pose is read, and where the frame shows neither an elbow, a wrist nor a knee:
    then nothing is known of its limbs.
    """
    figure, look = evidence.figure, evidence.second_look
    if figure is None or look is None:
        return Score("limbs", None, "no pose read")
    if not limbs_shown(figure):
        return Score("limbs", None, "no limb in the frame")
    measured = limb_consistency(figure, look)
    classes = (SOUND, *ARM_FAULTS, *(LEG_FAULTS if shows_legs(figure) else ()))
    likely = read_logistic("photo_limbs")(measured, classes)
    value = likely.pop(SOUND)
    worst = max(likely, key=lambda name: likely[name])
    return Score("limbs", value, None, {"worst": worst, **measured})
