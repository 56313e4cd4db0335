"""Does a photographed figure have two arms and two legs, as far as the frame shows them?

The evidence is whether a second look at the figure, in the mirror image, agrees with the first; and
where that leaves a doubt, whether a limb stays that was painted over. A logistic regression of each
step combines the measurements, fitted on real pictures and on wrong limbs painted into them
(metrics/calibration/limb_consistency.json and photo_limbs.json).
"""

from __future__ import annotations

from collections.abc import Mapping

from metrics.contract import Sample, Score
from metrics.evidence import Evidence
from metrics.figure.body import shows_legs
from metrics.figure.limb_consistency import limb_consistency, limbs_shown
from metrics.figure.repainted_limbs import repainted_limbs
from metrics.logistic import read_logistic

SOUND = "sound"
ARM_FAULTS = ("extra arm", "missing forearm")
LEG_FAULTS = ("extra leg", "missing lower leg")
"""Possible only where the frame shows legs."""

DOUBT = 0.09
"""Probability of wrong arms, or of wrong legs, above which these are painted over. That takes time:
of 201 sound pictures three fifths need none, and to paint over all finds no more (docs/judges.md).
"""


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
    likely = read_logistic("limb_consistency")(measured, classes)
    if any(doubted := doubted_limbs(likely)):
        measured |= repainted_limbs(look, evidence.repainted(*doubted))
        likely = read_logistic("photo_limbs")(measured, classes)
    value = likely.pop(SOUND)
    worst = max(likely, key=lambda name: likely[name])
    return Score("limbs", value, None, {"worst": worst, **measured})


def doubted_limbs(likely: Mapping[str, float]) -> tuple[bool, bool]:
    """Return whether a closer look at the arms and at the legs could change the answer.

    `likely` holds the probability of each class after the first look. A figure that looks wrong by
    then is not looked at again.
    """
    arms, legs = (
        likely[SOUND] >= 0.5 and sum(likely.get(fault, 0.0) for fault in faults) > DOUBT
        for faults in (ARM_FAULTS, LEG_FAULTS)
    )
    return arms, legs
