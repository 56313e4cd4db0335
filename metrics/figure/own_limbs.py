"""The place of each arm and leg of the skeleton in the picture: a missing limb has no flesh.

The network draws a missing limb too: along the rim of the torso, over the other leg, folded up or
far too short. It also doubts real limbs, where two limbs lie close or clothes are wide. Therefore
its doubt counts for more where the limb has no place of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from metrics.figure.body import Body
from metrics.figure.figure import ARMS, LEGS, Figure, Floats, arm_region

BORDER = 0.06
"""A joint this near the frame's edge, as a share of the side, is no evidence for its limb."""
_ARM_DEPTH = 0.12
"""Depth in units, from the rim, at which an arm lies in flesh: half of a thin arm's width."""
_APART = 0.4
"""Distance in units at which two legs lie beside one another."""
_EVEN = 0.3
"""Added to lengths before they are compared, in units: a limb seen end on is short."""
_STEPS, _LEAST = 9, 3


def lacking_limbs(body: Body) -> dict[str, float]:
    """Return what the weakest arm and leg lack, 0 for nothing or where the frame shows none.

    `arm_lacking`: share of the arm without flesh about it that is no torso; `leg_lacking`: share of
    the leg off the figure or over the other leg; `leg_bent`: how much nearer the ankle is to the
    hip than along the leg; `leg_short`: log ratio of the two legs' lengths.
    """
    figure = body.figure
    flesh = np.pad(arm_region(figure, body.joined), 1, mode="edge")
    depth = cv2.distanceTransform(flesh, cv2.DIST_L2, 3)[1:-1, 1:-1]
    in_flesh = np.minimum(1.0, depth / (_ARM_DEPTH * figure.unit))
    arms = [_share(figure, arm, 0.4, (), np.asarray(in_flesh, np.float32)) for arm in ARMS]
    legs: list[float | None] = []
    bent = short = 0.0
    if body.shows_legs:
        on_figure = body.joined.astype(np.float32)
        for leg, other in zip(LEGS, reversed(LEGS), strict=True):
            legs.append(_share(figure, leg, 0.5, (other[:2], other[1:3]), on_figure))
        bent, short = _folded(figure)
    return {
        "arm_lacking": _worst(arms),
        "leg_lacking": _worst(legs),
        "leg_bent": bent,
        "leg_short": short,
    }


def _worst(shares: Sequence[float | None]) -> float:
    known = [share for share in shares if share is not None]
    return 1.0 - min(known) if known else 0.0


def _share(
    figure: Figure, limb: Sequence[int], start: float, others: Sequence[Sequence[int]], good: Floats
) -> float | None:
    """Return the mean of `good` along a limb's two bones, the first from `start` on.

    None if the frame shows too little of it. A point counts for less the nearer the bones of
    `others` lie.
    """
    height, width = good.shape
    lines = []
    upper, middle, lower = limb[:3]
    for first, second, begin, end in ((upper, middle, start, 1.0), (middle, lower, 0.0, 0.9)):
        if figure.in_frame(second, BORDER):
            along = np.linspace(begin, end, _STEPS, dtype=np.float32)[:, None]
            lines.append(figure.joints[first] * (1 - along) + figure.joints[second] * along)
    points = np.concatenate(lines) if lines else np.zeros((0, 2), np.float32)
    points = points[((points >= 0) & (points < (width, height))).all(axis=1)]
    if len(points) < _LEAST:
        return None
    values = good[points[:, 1].astype(int), points[:, 0].astype(int)]
    for bone in others:
        values = values * np.minimum(1.0, _gaps(figure, points, bone) / _APART)
    return float(values.mean())


def _gaps(figure: Figure, points: Floats, bone: Sequence[int]) -> Floats:
    """Return the distances of points (n, 2) from a bone, in units."""
    start, along = figure.joints[bone[0]], figure.joints[bone[1]] - figure.joints[bone[0]]
    shares = np.clip((points - start) @ along / max(1e-6, float(along @ along)), 0.0, 1.0)
    gaps = np.linalg.norm(points - start - shares[:, None] * along, axis=1) / figure.unit
    return np.asarray(gaps, np.float32)


def _folded(figure: Figure) -> tuple[float, float]:
    """Return how bent the more bent leg is, 0 to 1, and the log ratio of the legs' lengths."""
    joints, straight, lengths = figure.joints, [], []
    for hip, knee, ankle, _ in LEGS:
        length = float(np.linalg.norm(joints[hip] - joints[knee]))
        length += float(np.linalg.norm(joints[knee] - joints[ankle]))
        straight.append(float(np.linalg.norm(joints[hip] - joints[ankle])) / max(1.0, length))
        lengths.append(length / figure.unit)
    return 1.0 - min(straight), math.log((max(lengths) + _EVEN) / (min(lengths) + _EVEN))
