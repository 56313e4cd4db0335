"""The main figure of a photograph in the picture's own pixels, as painters of faults need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from metrics.contract import Image, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.figure.figure import (
    LEFT_HIP,
    LEFT_SHOULDER,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    WORKING_SIDE,
    Figure,
    Floats,
    Mask,
    fill_hull,
)
from metrics.preprocess import resized_mask

TORSO = (LEFT_SHOULDER, RIGHT_SHOULDER, RIGHT_HIP, LEFT_HIP)

_VISIBLE = 0.6


@dataclass(frozen=True)
class PictureBody:
    """The main figure in the pixels of its picture; `unit` is about one head.

    `joints` (33, 2), `mask` (H, W).
    """

    image: Image
    figure: Figure
    joints: Floats
    mask: Mask
    unit: float

    def shows(self, *joints: int) -> bool:
        """Return True if all these joints lie in the frame and are visible."""
        visible = (self.figure.visibility[joint] >= _VISIBLE for joint in joints)
        return all(self.figure.in_frame(joint, 0.02) for joint in joints) and all(visible)


def read_picture_body(sample: Sample, judges: Detectors) -> PictureBody | None:
    """Return the main figure of a sample, None where no pose is read."""
    evidence = Evidence(sample, judges)
    figure, person = evidence.figure, evidence.person
    if figure is None or person is None:
        return None
    height, width = sample.image.shape[:2]
    joints = person.joints * np.array([width, height], np.float32)
    mask: Mask = (resized_mask(person.mask, height, width) > 0.5).astype(np.uint8)
    scale = max(height, width) / WORKING_SIDE
    return PictureBody(sample.image, figure, joints, mask, figure.unit * scale)


def torso_mask(body: PictureBody, margin: float = 0.25) -> Mask:
    """Return the hull of shoulders and hips, `margin` units wider, nothing above the neck."""
    region: Mask = np.zeros(body.mask.shape, np.uint8)
    fill_hull(region, [body.joints[joint] for joint in TORSO])
    width = max(1, round(margin * body.unit))
    outline = np.round(body.joints[list(TORSO)]).astype(np.int32)
    cv2.polylines(region, [outline], True, (1,), width)
    neck = body.joints[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0) - (0, 0.1 * body.unit)
    region[: max(0, int(neck[1]))] = 0
    return region


def capsule(body: PictureBody, joints: Sequence[int], width: float, onward: float) -> Mask:
    """Return the mask of a limb through its joints, `width` wide and `onward` beyond the last.

    Lengths are in units.
    """
    points = [body.joints[joint] for joint in joints]
    step = points[-1] - points[-2]
    step = step / max(1e-6, float(np.linalg.norm(step)))
    line = np.round(np.array([*points, points[-1] + onward * body.unit * step])).astype(np.int32)
    region: Mask = np.zeros(body.mask.shape, np.uint8)
    cv2.polylines(region, [line], False, (1,), max(1, round(width * body.unit)))
    return region
