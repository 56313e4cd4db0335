"""Does a second network read the same pose?

Where two networks of different kinds place the joints apart, the pose is doubtful: limbs that are
missing, doubled or melted are read in different ways. The judge is used only where the settings
name a second network, and was not measured: the limits below are guesses from published numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metrics.contract import Sample, Score
from metrics.evidence import Evidence, Judge
from metrics.threshold import Threshold

if TYPE_CHECKING:
    from metrics.detectors.mediapipe import Person
    from metrics.detectors.second_pose import Floats, Skeleton

NAME = "second_pose"

JOINTS: dict[str, tuple[int, int]] = {
    "nose": (0, 0),
    "left shoulder": (11, 5),
    "right shoulder": (12, 6),
    "left elbow": (13, 7),
    "right elbow": (14, 8),
    "left wrist": (15, 9),
    "right wrist": (16, 10),
    "left hip": (23, 11),
    "right hip": (24, 12),
    "left knee": (25, 13),
    "right knee": (26, 14),
    "left ankle": (27, 15),
    "right ankle": (28, 16),
}
"""Number of each joint for MediaPipe and for COCO. COCO's eyes and ears are left out: they lie
nearer to each other than the tolerance, and would agree whatever the limbs do."""

TOLERANCE = 0.2
"""Distance in torso lengths below which a joint is the same: PCK@0.2, at which MediaPipe's network
was evaluated (Bazarevsky et al. 2020). The two data sets place hips differently."""

AGREEMENT = Threshold(0.86, 0.04)
"""Share of joints at which agreement is in doubt: of 13, one may be apart, but not two, such as an
elbow with its wrist. A guess: the selfcheck has to confirm it."""

MIN_JOINTS = 5
"""Least number of shared joints: head, shoulders and one arm."""

VISIBLE = 0.5
"""Least visibility of a joint for MediaPipe: more likely in the picture than not."""
SURE = 0.3
"""Least confidence of a joint for the second network, MMPose's own for ViTPose."""

_WIDE = 1.35
"""Torso lengths in a shoulder width seen from the front, as metrics.figure.figure takes it."""


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return 1 where the two networks agree, below one half where two of 13 joints are apart.

    The share is that of the joints that both see in the frame and that lie within TOLERANCE of each
    other. Abstains where no second network is set, where one of the two reads no pose and where
    they share fewer than MIN_JOINTS joints.
    """
    if evidence.settings.pose_model is None:
        return Score(NAME, None, "no pose model set")
    person = evidence.person
    if person is None:
        return Score(NAME, None, "no pose read")
    other = evidence.second_pose
    if other is None:
        return Score(NAME, None, "the second network finds nobody there")
    height, width = sample.image.shape[:2]
    first, second = seen_joints(person, other)
    apart = distances(person, other, np.array([width, height], np.float32))
    shared = {name: apart[name] for name in JOINTS if first[name] and second[name]}
    measured: dict[str, float | int | str] = {
        "shared": len(shared),
        "only_first": sum(first[name] and not second[name] for name in JOINTS),
        "only_second": sum(second[name] and not first[name] for name in JOINTS),
    }
    if len(shared) < MIN_JOINTS:
        return Score(NAME, None, "the two networks share too few joints", measured)
    share = sum(distance <= TOLERANCE for distance in shared.values()) / len(shared)
    farthest = max(shared, key=lambda name: shared[name])
    measured |= {"share": share, "apart": shared[farthest], "worst": f"no agreement on {farthest}"}
    return Score(NAME, AGREEMENT(share), None, measured)


def seen_joints(person: Person, other: Skeleton) -> tuple[dict[str, bool], dict[str, bool]]:
    """Return which of JOINTS each network sees in the frame: MediaPipe, then the second one."""
    first, second = {}, {}
    for name, (own, coco) in JOINTS.items():
        first[name] = bool(person.visibility[own] >= VISIBLE and _inside(person.joints[own]))
        second[name] = bool(other.confidence[coco] >= SURE and _inside(other.joints[coco]))
    return first, second


def distances(person: Person, other: Skeleton, size: Floats) -> dict[str, float]:
    """Return how far apart the networks place each of JOINTS, in torso lengths.

    `size` (2,) is the width and height of the picture in pixels. A torso is as long as from between
    the shoulders to between the hips, or, bent towards the camera, as its shoulders are wide.
    """
    joints = person.joints * size
    left, right = joints[[11, 23]], joints[[12, 24]]
    shoulders, hips = (left + right) / 2
    spine = float(np.linalg.norm(shoulders - hips))
    torso = max(spine, _WIDE * float(np.linalg.norm(left[0] - right[0])), 1e-6)
    moved = {name: joints[own] - other.joints[coco] * size for name, (own, coco) in JOINTS.items()}
    return {name: float(np.linalg.norm(move)) / torso for name, move in moved.items()}


def _inside(joint: Floats) -> bool:
    return bool((joint >= 0).all() and (joint < 1).all())


JUDGE = Judge(NAME, score, models=("pose_model",))
