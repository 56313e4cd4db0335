"""Measurements of whether a body has one readable pose, computed once for all judges.

The network's own doubt, the agreement of its mask, the picture's colours and the skeleton, and
proportions.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from metrics.figure.body import Body
from metrics.figure.figure import ARMS, LEGS, NOSE, Figure
from metrics.logistic import log_odds

_HEAD = tuple(range(11))
_SHOULDERS, _HIPS = (11, 12), (23, 24)


def pose_evidence(body: Body) -> dict[str, float]:
    """Return the measurements of a readable pose as plain numbers.

    `head_seen`, `joints_seen`, `least_seen`: log odds of the landmarks' visibility in the frame;
    `on_figure`: share of joints on the mask; `fuzzy`, `unexplained`: shares of the figure;
    `agreement`: IoU of the landmarker's mask and the region by colours and edges; `edge`: contrast
    along the outline; `uneven`: largest log ratio of a left and a right limb bone; `longest`:
    longest limb bone in units; `upright`: cosine of neck and spine.
    """
    figure = body.figure
    joints = _shown_joints(body)
    visibility = figure.visibility[joints] if joints else np.ones(1, np.float32)
    head = [float(figure.visibility[joint]) for joint in _HEAD if figure.in_frame(joint)]
    mask = figure.mask
    return {
        "head_seen": log_odds(float(np.mean(head)) if head else 1.0),
        "joints_seen": log_odds(float(visibility.mean())),
        "least_seen": log_odds(float(visibility.min())),
        "on_figure": _on_figure(figure, joints),
        "fuzzy": min(1.0, body.fuzzy_share),
        "unexplained": body.unexplained_share,
        "agreement": float((mask & body.region).sum())
        / max(1.0, float((mask | body.region).sum())),
        "edge": _edge_contrast(figure),
        **_proportions(body),
    }


def _shown_joints(body: Body) -> list[int]:
    """Return the joints in the frame: shoulders, arms and, if there is room, hips and legs."""
    limbs = [*ARMS, *(leg[:3] for leg in LEGS if body.shows_legs)]
    return [joint for limb in limbs for joint in limb if body.figure.in_frame(joint)]


def _on_figure(figure: Figure, joints: list[int]) -> float:
    points = figure.joints[joints].astype(int)
    return float(figure.soft_mask[points[:, 1], points[:, 0]].mean()) if joints else 1.0


def _edge_contrast(figure: Figure) -> float:
    """Return log(1 + mean step in L*a*b* over two pixels), across the mask's outline."""
    colours = figure.colours
    outline = cv2.morphologyEx(figure.mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    outline[[0, -1]] = outline[:, [0, -1]] = 0
    y, x = np.nonzero(outline)
    if not len(y):
        return 0.0
    down = np.linalg.norm(colours[y + 1, x] - colours[y - 1, x], axis=-1)
    across = np.linalg.norm(colours[y, x + 1] - colours[y, x - 1], axis=-1)
    return math.log1p(float(np.hypot(down, across).mean()))


def _proportions(body: Body) -> dict[str, float]:
    figure, joints = body.figure, body.figure.joints
    uneven, longest = 0.0, 0.0
    for left, right in (ARMS, LEGS) if body.shows_legs else (ARMS,):
        for part in (0, 1):
            bones = [limb[part : part + 2] for limb in (left, right)]
            lengths = [float(np.linalg.norm(joints[a] - joints[b])) / figure.unit for a, b in bones]
            if all(figure.in_frame(joint) for bone in bones for joint in bone):
                # A bone seen end on is short; a tenth of a unit is within the landmarks' error.
                uneven = max(uneven, abs(math.log((lengths[0] + 0.3) / (lengths[1] + 0.3))))
                longest = max(longest, *lengths)
    neck, pelvis = (joints[list(pair)].mean(axis=0) for pair in (_SHOULDERS, _HIPS))
    up, spine = joints[NOSE] - neck, neck - pelvis
    across = float(np.linalg.norm(up)) * float(np.linalg.norm(spine))
    return {
        "uneven": uneven,
        "longest": longest,
        "upright": float(np.dot(up, spine)) / max(1e-6, across),
    }
