"""Can a pose be read? A figure that no pose network recognises is a failure, not a blank.

A pose network draws a skeleton over smears and tangles too. Whether there is a body under it shows
in its own doubt, in how well its mask, the picture's colours and the skeleton agree, and in
proportions. Joints outside the frame are never held against a figure.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from metrics.body import Body
from metrics.contract import Judge, Sample, Score
from metrics.evidence import Evidence
from metrics.figure import ARMS, LEGS, NOSE, Figure, stick_figure
from metrics.logistic import read_logistic
from metrics.preprocess import lab

NAME = "pose_readable"
READABLE = "readable"
UNREADABLE = 0.2
"""Probability below which other judges of the body have nothing to go by."""

_HEAD = tuple(range(11))
_SHOULDERS, _HIPS = (11, 12), (23, 24)
_SURE = 0.995


def score(sample: Sample, evidence: Evidence) -> Score:
    """Probability that a human pose can be read, 0 where the landmarker reads none.

    Abstains only on a picture without a figure whose prompt is empty: nobody asked for one.
    """
    people = len(evidence.people)
    if not people and not sample.prompt.text.strip():
        return Score(NAME, None, "no figure found, and the prompt asks for none")
    if evidence.person is None or evidence.body is None:
        return Score(NAME, 0.0, None, {"people": 0})
    measured = pose_evidence(evidence.body)
    joints = stick_figure(evidence.person)
    value = readable(measured)
    return Score(NAME, value, None, {"people": people, "joints": joints, **measured})


def readable(measured: dict[str, float]) -> float:
    """Probability that a pose can be read, from what `pose_evidence` measured."""
    return read_logistic("pose")(measured)[READABLE]


def pose_evidence(body: Body) -> dict[str, float]:
    """What tells a readable pose, as plain numbers, higher or lower for better as named:

    `head_seen`, `joints_seen`, `least_seen`: log odds of the landmarks' visibility in the frame;
    `on_figure`: share of joints on the mask; `fuzzy`, `unexplained`: shares of the figure;
    `agreement`: IoU of the landmarker's mask and what colours and edges say; `edge`: contrast
    along the outline; `uneven`: largest log ratio of a left and a right limb bone; `longest`:
    longest limb bone in units; `upright`: cosine of neck and spine.
    """
    figure = body.figure
    joints = _shown_joints(body)
    seen = figure.visibility[joints] if joints else np.ones(1, np.float32)
    head = [float(figure.visibility[one]) for one in _HEAD if figure.in_frame(one)]
    mask = figure.mask
    return {
        "head_seen": _log_odds(float(np.mean(head)) if head else 1.0),
        "joints_seen": _log_odds(float(seen.mean())),
        "least_seen": _log_odds(float(seen.min())),
        "on_figure": _on_figure(figure, joints),
        "fuzzy": min(1.0, body.fuzzy_share),
        "unexplained": body.unexplained_share,
        "agreement": float((mask & body.region).sum())
        / max(1.0, float((mask | body.region).sum())),
        "edge": _edge_contrast(figure),
        **_proportions(body),
    }


def _shown_joints(body: Body) -> list[int]:
    """Shoulders, arms and, where the frame leaves room for them, hips and legs; in the frame."""
    limbs = [*ARMS, *(leg[:3] for leg in LEGS if body.shows_legs)]
    return [joint for limb in limbs for joint in limb if body.figure.in_frame(joint)]


def _on_figure(figure: Figure, joints: list[int]) -> float:
    points = figure.joints[joints].astype(int)
    return float(figure.soft_mask[points[:, 1], points[:, 0]].mean()) if joints else 1.0


def _edge_contrast(figure: Figure) -> float:
    """Logarithm of the mean step in L*a*b* over two pixels, across the mask's outline."""
    colours = lab(figure.picture)
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


def _log_odds(share: float) -> float:
    share = min(_SURE, max(1 - _SURE, share))
    return math.log(share / (1.0 - share))


JUDGE = Judge(NAME, "pose", score)
