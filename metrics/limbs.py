"""Has the figure two arms and two legs, as far as the frame shows them?

A pose network always draws one valid human. A limb too many is therefore sought outside its
skeleton: a part of the figure that no bone explains. A limb too few shows in the network's own
doubt: it still draws the joint and says that it does not see it. Joints outside the frame are
never held against a figure. Arms hidden behind the back look missing here.

The thresholds were set on renders of the mannequin, half of them softened, and tested on others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from metrics.contract import Judge, Sample, Score
from metrics.evidence import Evidence
from metrics.figure import (
    ARMS,
    LEGS,
    Figure,
    Mask,
    explained_region,
    figure_region,
    fill_hull,
    limb_likeness,
)

NAME = "limbs"


@dataclass(frozen=True)
class Threshold:
    """A logistic step: probability one half at `middle`, `width` says how steep."""

    middle: float
    width: float

    def __call__(self, value: float) -> float:
        """Probability in [0, 1], rising with `value` for a positive width."""
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, (value - self.middle) / self.width))))


EXTRA = Threshold(0.28, 0.03)
SHIN_GAP = Threshold(0.12, 0.02)
UNSEEN_ARM = Threshold(0.45, -0.04)
UNSEEN_LEG = Threshold(0.75, -0.04)
MAX_FUZZY = 0.45
TOO_MANY_HANDS = 0.9
_BORDER = 0.06
_LEG_ROOM = 0.8
_LEG_AREA = 0.4
_LONGEST = 1.2
_THICK = 0.75


def score(sample: Sample, evidence: Evidence) -> Score:
    """1 minus the probability of the likeliest limb fault.

    Abstains where no pose is read, where the frame shows neither an elbow, a wrist nor a knee,
    and where the figure does not stand out from its ground.
    """
    figure = evidence.figure
    if figure is None:
        return Score(NAME, None, "no pose read")
    arm = _seen(figure, ARMS)
    leg = _seen(figure, LEGS) if _shows_legs(figure) else None
    if arm is None and leg is None:
        return Score(NAME, None, "no limb in the frame")
    fuzzy = _fuzzy_share(figure)
    if fuzzy > MAX_FUZZY:
        return Score(NAME, None, "the figure does not stand out from its ground", {"fuzzy": fuzzy})
    explained = explained_region(figure)
    region = figure_region(figure, explained)
    alike = limb_likeness(figure)
    reach = unexplained_reach(figure, region, explained, alike)
    gap = shin_gap_share(figure, region & alike, explained)
    hands = len(evidence.hands)
    unseen_arm = 0.0 if arm is None else UNSEEN_ARM(arm)
    # A part without a bone beside an arm that the network does not see is that arm, misplaced.
    faults = {
        "extra limb": EXTRA(reach) * (1.0 - unseen_arm),
        "missing arm": unseen_arm * (1.0 - EXTRA(reach)),
        "extra leg": SHIN_GAP(gap),
        "missing leg": 0.0 if leg is None else UNSEEN_LEG(leg),
        "extra hand": TOO_MANY_HANDS if hands > 2 and len(evidence.people) == 1 else 0.0,
    }
    worst = max(faults, key=lambda name: faults[name])
    seen = {"reach": reach, "shin_gap": gap, "hands": hands, "fuzzy": fuzzy}
    joints = {"arm_seen": arm, "leg_seen": leg}
    known = {name: value for name, value in joints.items() if value is not None}
    return Score(NAME, 1.0 - faults[worst], None, {"worst": worst, **seen, **known})


def unexplained_reach(figure: Figure, region: Mask, explained: Mask, alike: Mask) -> float:
    """How far the most limb-like unexplained part sticks out, in units, 0 to 1.2.

    A part counts by its reach, less so the thicker it is than a limb and the less of it is
    `alike`, coloured as the figure's own limbs. Thin rims along an edge reach nowhere.
    """
    outside = cv2.bitwise_and(region, 1 - explained)
    rest = cv2.morphologyEx(outside, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels = cv2.connectedComponents(rest)
    away = cv2.distanceTransform(1 - explained, cv2.DIST_L2, 5) / figure.unit
    depth = cv2.distanceTransform(rest, cv2.DIST_L2, 5) / figure.unit
    best = 0.0
    for label in range(1, count):
        part = labels == label
        thickness = 2.0 * float(depth[part].max())
        limb_like = max(0.0, 1.0 - max(0.0, thickness - _THICK) * 2.0)
        reach = min(_LONGEST, float(away[part].max()))
        best = max(best, reach * limb_like * float(alike[part].mean()))
    return best


def shin_gap_share(figure: Figure, limbs: Mask, explained: Mask) -> float:
    """Share of the gap between the two shins that looks like a limb: a third leg stands there.

    0 where an ankle lies outside the frame or the shins leave no gap worth the name.
    """
    joints = figure.joints
    if not all(figure.in_frame(ankle) for _, _, ankle, _ in LEGS):
        return 0.0
    between: Mask = np.zeros(limbs.shape, np.uint8)
    upper = [joints[k] + (joints[a] - joints[k]) * 0.35 for _, k, a, _ in LEGS]
    fill_hull(between, [*upper, *(joints[a] for _, _, a, _ in LEGS)])
    gap = between & (1 - explained)
    return float((gap & limbs).sum()) / max(_LEG_AREA * figure.unit**2, float(gap.sum()))


def _seen(figure: Figure, limbs: tuple[tuple[int, ...], ...]) -> float | None:
    """Lowest visibility, 0 to 1, of the second and third joints that lie in the frame."""
    expected = [j for limb in limbs for j in limb[1:3] if figure.in_frame(j, _BORDER)]
    return min((float(figure.visibility[j]) for j in expected), default=None)


def _shows_legs(figure: Figure) -> bool:
    """Whether the frame leaves room below the hips for legs, measured by the spine.

    On a half-body picture the network folds the legs it cannot see into the frame.
    """
    shoulders, hips = figure.joints[11:13].mean(axis=0), figure.joints[23:25].mean(axis=0)
    spine = float(np.linalg.norm(shoulders - hips))
    return bool(figure.soft_mask.shape[0] - hips[1] > _LEG_ROOM * spine)


def _fuzzy_share(figure: Figure) -> float:
    """Pixels that the mask cannot decide on, as a share of the figure's."""
    undecided = (figure.soft_mask > 0.15) & (figure.soft_mask < 0.85)
    return float(undecided.sum()) / max(1.0, float(figure.mask.sum()))


JUDGE = Judge(NAME, "pose", score)
