"""Has the figure two arms and two legs, as far as the frame shows them?

A pose network always draws one valid human. A limb too many is therefore sought outside its
skeleton: a part of the figure that no bone explains. A limb too few shows in the network's own
doubt, the more so where the bone that it draws all the same lies on no limb. Joints outside the
frame or at its edge are never held against a figure. Arms hidden behind the back look missing.

The thresholds were set on renders of the mannequin and on their reconstructions by its
autoencoder, half of them with a limb too many or too few, and tested on others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Judge, Sample, Score
from metrics.evidence import Evidence
from metrics.figure import (
    ARMS,
    LEGS,
    Figure,
    Mask,
    arm_region,
    bone_support,
    explained_region,
    figure_region,
    fill_hull,
    joined_to_torso,
    limb_likeness,
)
from metrics.preprocess import Box, share_box
from metrics.threshold import Threshold

NAME = "limbs"

EXTRA = Threshold(0.38, 0.05)
SHIN_GAP = Threshold(0.15, 0.04)
# Weights of visibility and support in `limb_doubt`: logistic regressions on 700 sound and 320
# faulty pictures, half of them reconstructions; the middles were then moved towards sound.
ARM_DOUBT, MISSING_ARM = (1.5, 3.0), Threshold(2.1, 1.0)
LEG_DOUBT, MISSING_LEG = (2.5, 1.2), Threshold(-2.9, 1.0)

MAX_FUZZY = 0.45
MAX_UNEXPLAINED = 0.25
TOO_MANY_HANDS = 0.9
_BORDER = 0.06
_LEG_ROOM = 0.8
_LEG_AREA = 0.4
_LONGEST = 1.2
_THICK = 0.75
_BESIDE_LEGS = 0.5  # skirts, trousers and a skeleton a little off leave rims there


@dataclass(frozen=True)
class Limb:
    """The least certain joint of a pair of limbs.

    `visibility`, 0 to 1, as the network has it; `support`, the share of the bone above the joint
    that lies on something like a limb.
    """

    visibility: float
    support: float


@dataclass(frozen=True)
class Part:
    """A part of the body that no bone explains.

    `reach` is how far it sticks out like a limb, in units, 0 to 1.2; `box` left, top, right,
    bottom as shares of the picture's sides.
    """

    reach: float
    box: Box = (0.0, 0.0, 0.0, 0.0)


def score(sample: Sample, evidence: Evidence) -> Score:
    """1 minus the probability of the likeliest limb fault.

    Abstains where no pose is read, where the frame shows neither an elbow, a wrist nor a knee,
    where the figure does not stand out from its ground, and where the pose that was read misses
    a quarter of the figure: then nothing is known of its limbs.
    """
    figure = evidence.figure
    if figure is None:
        return Score(NAME, None, "no pose read")
    shown = ARMS + LEGS if _shows_legs(figure) else ARMS
    if not any(figure.in_frame(joint, _BORDER) for limb in shown for joint in limb[1:3]):
        return Score(NAME, None, "no limb in the frame")
    fuzzy = _fuzzy_share(figure)
    if fuzzy > MAX_FUZZY:
        return Score(NAME, None, "the figure does not stand out from its ground", {"fuzzy": fuzzy})
    explained = explained_region(figure)
    region = figure_region(figure, explained)
    body = joined_to_torso(figure, region)
    unknown = _opened(body & (1 - explained))
    share = float(unknown.sum()) / max(1.0, float(body.sum()))
    if share > MAX_UNEXPLAINED:
        return Score(NAME, None, "the pose does not fit the figure", {"unexplained": share})
    hands = len(evidence.hands)
    faults, seen, part = _faults(figure, (region, body), explained)
    faults["extra hand"] = TOO_MANY_HANDS if hands > 2 and len(evidence.people) == 1 else 0.0
    worst = max(faults, key=lambda name: faults[name])
    measured = {"hands": hands, "fuzzy": fuzzy, "unexplained": share, **seen}
    where = {"part": list(part.box)} if part.reach else {}
    return Score(NAME, 1.0 - faults[worst], None, {"worst": worst, **measured, **where})


def _faults(
    figure: Figure, regions: tuple[Mask, Mask], explained: Mask
) -> tuple[dict[str, float], dict[str, float], Part]:
    """The probability of each fault of arms and legs, the measurements behind them, and the part
    of the body that is a limb too many if any is.

    `regions` is all that looks like the figure, and what of it hangs together with the torso: a
    third leg often shows below a skirt only, while a third arm has to be attached.
    """
    region, body = regions
    alike = limb_likeness(figure)
    arm = weakest_limb(figure, ARMS, arm_region(figure, body))
    leg = weakest_limb(figure, LEGS, body) if _shows_legs(figure) else None
    part = unexplained_part(figure, body, explained, alike)
    gap = shin_gap_share(figure, region & alike, explained)
    extra = EXTRA(part.reach)
    missing_arm = 0.0 if arm is None else MISSING_ARM(limb_doubt(arm, *ARM_DOUBT))
    # A part without a bone beside an arm that the network does not see is that arm, misplaced.
    faults = {
        "extra limb": extra * (1.0 - missing_arm),
        "missing arm": missing_arm * (1.0 - extra),
        "extra leg": SHIN_GAP(gap),
        "missing leg": 0.0 if leg is None else MISSING_LEG(limb_doubt(leg, *LEG_DOUBT)),
    }
    seen = {"reach": part.reach, "shin_gap": gap}
    for name, limb in (("arm", arm), ("leg", leg)):
        if limb is not None:
            seen |= {f"{name}_seen": limb.visibility, f"{name}_support": limb.support}
    return faults, seen, part


def unexplained_part(figure: Figure, body: Mask, explained: Mask, alike: Mask) -> Part:
    """The most limb-like part of the body that no bone explains; reach 0 where there is none.

    A part counts by its reach, less so the thicker it is than a limb, the less of it is `alike`,
    coloured as the figure's own limbs, and where it lies beside the legs, not between them. Thin
    rims along an edge reach nowhere.
    """
    unexplained = _opened(body & (1 - explained))
    count, labels, boxes, centres = cv2.connectedComponentsWithStats(unexplained)
    away = cv2.distanceTransform(1 - explained, cv2.DIST_L2, 5) / figure.unit
    depth = cv2.distanceTransform(unexplained, cv2.DIST_L2, 5) / figure.unit
    best = Part(0.0)
    for label in range(1, count):
        part = labels == label
        thickness = 2.0 * float(depth[part].max())
        limb_like = max(0.0, 1.0 - max(0.0, thickness - _THICK) * 2.0)
        if _beside_legs(figure, centres[label]):
            limb_like *= _BESIDE_LEGS
        reach = min(_LONGEST, float(away[part].max()))
        reach *= limb_like * float(alike[part].mean())
        if reach > best.reach:
            left, top, width, height = (int(one) for one in boxes[label][:4])
            best = Part(reach, share_box((left, top, width, height), body.shape))
    return best


def limb_doubt(limb: Limb, by_visibility: float, by_support: float) -> float:
    """Log odds that a limb is missing, up to a constant: unseen, and its bone on no limb."""
    unseen = 1.0 - min(0.99, max(0.01, limb.visibility))
    return by_visibility * math.log(unseen / (1.0 - unseen)) + by_support * (1.0 - limb.support)


def weakest_limb(figure: Figure, limbs: tuple[tuple[int, ...], ...], region: Mask) -> Limb | None:
    """The least visible of the second and third joints, away from the frame's edge.

    `region` is where the limbs would show; None where no such joint lies in the frame.
    """
    found = []
    for first, second, third, *_ in limbs:
        for bone, span in (((first, second), (0.3, 1.0)), ((second, third), (0.0, 0.9))):
            if figure.in_frame(bone[1], _BORDER):
                support = bone_support(figure, region, bone, span)
                visibility = float(figure.visibility[bone[1]])
                found.append(Limb(visibility, 1.0 if support is None else support))
    return min(found, key=lambda limb: limb.visibility, default=None)


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


def _beside_legs(figure: Figure, point: npt.NDArray[np.float64]) -> bool:
    """Whether a point lies lower than the hips and not between the legs."""
    joints = figure.joints
    hips = joints[[hip for hip, *_ in LEGS]].mean(axis=0)
    across = joints[[joint for _, knee, ankle, _ in LEGS for joint in (knee, ankle)], 0]
    low = point[1] > hips[1] + 0.3 * figure.unit
    return bool(low and not across.min() < point[0] < across.max())


def _opened(mask: Mask) -> Mask:
    """The mask without what is thinner than three pixels."""
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)


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
