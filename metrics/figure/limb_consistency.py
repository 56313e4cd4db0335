"""Measurements of wrong limbs on photographs: does the mirror image show the same limbs?

All lengths are in lengths of the torso, unless said otherwise. They say where a limb is in doubt
(metrics/calibration/limb_consistency.json), and metrics/figure/repainted_limbs.py looks again.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from metrics.figure.body import shows_legs, without_thin_parts
from metrics.figure.figure import ARMS, LEGS, Figure, Floats, Mask, explained_region
from metrics.figure.second_look import SecondLook
from metrics.logistic import log_odds
from metrics.preprocess import resized_mask

_EDGE = 0.03
"""A joint this near the frame's edge, as a share of the side, is no evidence for its limb."""
_MOST = 1.5
"""Largest distance that counts: farther is as wrong."""
_LEAST = 0.02
"""Added to distances before their logarithm: smaller ones are within the landmarks' error."""
_LOW, _HALF, _UNSURE = 0.2, 0.5, 0.15
_ARM_SEEN = 0.9
"""Visibility of arms that are not shown: about that of sound ones."""
_REACH, _FAR, _THICK = 1.5, 2.0, 0.75  # in units of the figure, about one head
_SAMPLES, _LEAST_SAMPLES = 9, 3
_FORESHORTENED = 0.1  # added to lengths before their logarithm: a limb seen end on is short
_ARM_HALF = -math.log(0.5)
"""Shortness of a lower limb that is not shown: about that of a sound one."""

Limb = tuple[int, int, int]


def limb_consistency(figure: Figure, look: SecondLook) -> dict[str, float]:
    """Return the measurements of surplus and missing limbs as plain numbers.

    `mirror_mask`: 1 - IoU of the figure's mask and that of its mirror image. `mirror_worst`,
    `mirror_all`: how far the worst limb joint and all of them lie elsewhere in the mirror image.
    (These three as logarithms.) `far`: greatest distance of the figure's mask from a body of two
    arms and legs; `reach`: length of the longest limb-like part beside it, also where the mask is
    unsure. `fuzzy`: pixels of that body that the mask leaves undecided, as a share of the figure's.
    `arm_seen`: log odds of the least visibility of an elbow or wrist. `arm_off`, `leg_off`: least
    share of a wrist's end and of a leg's bone on the mask. `arm_short`, `leg_short`: minus
    logarithm of the length of the shortest forearm and shin. Limbs that the frame does not show get
    the values of sound ones.
    """
    legs = shows_legs(figure)
    arms_shown = [limb for limb in ARMS if _in_frame(figure, limb[1])]
    legs_shown = [limb[:3] for limb in LEGS if legs and _in_frame(figure, limb[1])]
    return {
        **_mirror(figure, look, legs),
        **_mask_and_bones(figure),
        "arm_seen": _arm_seen(figure, arms_shown),
        **_limbs("arm", figure, look, arms_shown),
        **_limbs("leg", figure, look, legs_shown),
    }


def limbs_shown(figure: Figure) -> bool:
    """Return True if an elbow, a wrist or a knee lies in the frame, away from its edge."""
    joints = [joint for limb in ARMS for joint in limb[1:]]
    joints += [limb[1] for limb in LEGS] if shows_legs(figure) else []
    return any(_in_frame(figure, joint) for joint in joints)


def _in_frame(figure: Figure, joint: int) -> bool:
    return figure.in_frame(joint, _EDGE)


def mirror_moves(look: SecondLook) -> Floats:
    """Return how far each joint lies elsewhere in the mirror image, shape (33,), at most _MOST."""
    if look.mirrored is None:
        return np.full(33, 1.0, np.float32)
    steps = (look.mirrored.joints - look.person.joints) * look.size
    return np.asarray(np.minimum(_MOST, np.linalg.norm(steps, axis=1) / look.torso), np.float32)


def _mirror(figure: Figure, look: SecondLook, legs: bool) -> dict[str, float]:
    moves = mirror_moves(look)
    limbs = (*ARMS, *(LEGS if legs else ()))
    ends = [joint for limb in limbs for joint in limb[1:3] if _in_frame(figure, joint)]
    worst = float(moves[ends].max()) if ends else 0.0
    return {
        "mirror_mask": math.log(_LEAST + mask_difference(look)),
        "mirror_worst": math.log(_LEAST + worst),
        "mirror_all": math.log(_LEAST + float(moves[[11, 12, *ends]].mean())),
    }


def mask_difference(look: SecondLook) -> float:
    """Return 1 - IoU of the figure's mask and that of its mirror image; 1 where none was read."""
    if look.mirrored is None:
        return 1.0
    height, width = look.person.mask.shape  # read in a border, the other may be a pixel smaller
    first = look.person.mask > _HALF
    second = resized_mask(look.mirrored.mask, height, width) > _HALF
    return 1.0 - float((first & second).sum()) / max(1.0, float((first | second).sum()))


def _mask_and_bones(figure: Figure) -> dict[str, float]:
    explained, soft = explained_region(figure), figure.soft_mask
    away = cv2.distanceTransform(1 - explained, cv2.DIST_L2, 5) / figure.unit
    far = min(_FAR, float((away * figure.mask).max()))
    beside: Mask = (soft > _LOW).astype(np.uint8) & (1 - explained)
    count, labels = cv2.connectedComponents(without_thin_parts(beside))
    reach = [_limb_reach(figure, away, labels == label) for label in range(1, count)]
    undecided = (soft > _UNSURE) & (soft < 1 - _UNSURE) & (explained > 0)
    fuzzy = min(1.0, float(undecided.sum()) / max(1.0, float(figure.mask.sum())))
    return {"far": far, "reach": max(reach, default=0.0), "fuzzy": fuzzy}


def _limb_reach(figure: Figure, away: Floats, inside: Mask) -> float:
    """Return how far a part leads away from the bones, for less where it is too thick a limb."""
    distances = away[inside]
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
    thickness = 2.0 * float(depth.max()) / figure.unit
    limb_like = max(0.0, 1.0 - max(0.0, thickness - _THICK) * 2.0)
    return min(_REACH, float(distances.max() - distances.min())) * limb_like


def _arm_seen(figure: Figure, arms: list[Limb]) -> float:
    shown = [joint for arm in arms for joint in arm[1:] if _in_frame(figure, joint)]
    return log_odds(min((float(figure.visibility[joint]) for joint in shown), default=_ARM_SEEN))


def _limbs(name: str, figure: Figure, look: SecondLook, limbs: list[Limb]) -> dict[str, float]:
    joints = look.person.joints * look.size
    off, short = [0.0], []
    for upper, middle, end in limbs:
        bones = ((middle, end),) if name == "arm" else ((upper, middle), (middle, end))
        bones_shown = (bone for bone in bones if _in_frame(figure, bone[1]))
        off += [1.0 - _on_mask(figure, bone, name) for bone in bones_shown]
        length = float(np.linalg.norm(joints[middle] - joints[end])) / look.torso
        shown = _in_frame(figure, end)
        short.append(-math.log(length + _FORESHORTENED) if shown else _ARM_HALF)
    return {f"{name}_off": max(off), f"{name}_short": max(short, default=_ARM_HALF)}


def _on_mask(figure: Figure, bone: tuple[int, int], name: str) -> float:
    """Return the mean of the soft mask along a bone: of an arm only where it ends."""
    begin = 0.7 if name == "arm" else 0.2
    start, end = figure.joints[bone[0]], figure.joints[bone[1]]
    height, width = figure.soft_mask.shape
    points = [start + (end - start) * along for along in np.linspace(begin, 0.95, _SAMPLES)]
    inside = [
        figure.soft_mask[int(y), int(x)] for x, y in points if 0 <= x < width and 0 <= y < height
    ]
    return float(np.mean(inside)) if len(inside) >= _LEAST_SAMPLES else 1.0
