"""Measurements of whether a photographed body has one readable pose.

The landmarker's own doubt, its mask, and whether it reads the same body in the mirror image.
"""

from __future__ import annotations

import math

import numpy as np

from metrics.figure.body import shows_legs
from metrics.figure.figure import ARMS, LEGS, NOSE, Figure
from metrics.figure.limb_consistency import mask_difference, mirror_moves
from metrics.figure.second_look import SecondLook
from metrics.logistic import log_odds

_HEAD = tuple(range(11))
_LEAST = 0.02
"""Added to distances before their logarithm: smaller ones are within the landmarks' error."""


def pose_consistency(figure: Figure, look: SecondLook) -> dict[str, float]:
    """Return the measurements of a readable pose as plain numbers.

    `head_seen`, `joints_seen`: log odds of the landmarks' visibility in the frame; `fuzzy`: pixels
    that the mask leaves undecided, as a share of the figure's; `mirror_mask`: 1 - IoU of the
    figure's mask and that of its mirror image; `mirror_head`, `mirror_body`: how far the joints lie
    elsewhere in the mirror image, in torso lengths (these three as logarithms); `upright`: cosine
    of neck and spine.
    """
    limbs = (*ARMS, *(leg[:3] for leg in LEGS if shows_legs(figure)))
    body = [joint for limb in limbs for joint in limb if figure.in_frame(joint)]
    head = [joint for joint in _HEAD if figure.in_frame(joint)]
    moves, soft = mirror_moves(look), figure.soft_mask
    undecided = float(((soft > 0.15) & (soft < 0.85)).sum()) / max(1.0, float(figure.mask.sum()))
    return {
        "head_seen": log_odds(float(figure.visibility[head].mean()) if head else 1.0),
        "joints_seen": log_odds(float(figure.visibility[body].mean()) if body else 1.0),
        "fuzzy": min(1.0, undecided),
        "mirror_mask": math.log(_LEAST + mask_difference(look)),
        "mirror_head": math.log(_LEAST + float(moves[head or [NOSE]].mean())),
        "mirror_body": math.log(_LEAST + float(moves[body].mean() if body else 0.0)),
        "upright": _upright(figure),
    }


def _upright(figure: Figure) -> float:
    joints = figure.joints
    neck, pelvis = joints[11:13].mean(axis=0), joints[23:25].mean(axis=0)
    up, spine = joints[NOSE] - neck, neck - pelvis
    lengths = float(np.linalg.norm(up)) * float(np.linalg.norm(spine))
    return float(np.dot(up, spine)) / max(1e-6, lengths)
