"""The place of the figure, and the part of it that a skeleton of two arms and two legs explains.

All lengths are in pixels of a working picture, `Figure.picture`; `unit` is about one head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Image
from metrics.preprocess import Box, analysis_picture, lab, resized_mask

if TYPE_CHECKING:
    from metrics.detectors.mediapipe import Person

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]
"""Shape (H, W), 1 inside and 0 outside."""

WORKING_SIDE = 128

# MediaPipe's landmark numbers.
NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR, MOUTH_LEFT, MOUTH_RIGHT = 0, 2, 5, 7, 8, 9, 10
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 11, 12, 23, 24
ARMS = ((11, 13, 15), (12, 14, 16))
"""Shoulder, elbow, wrist of each arm."""
LEGS = ((23, 25, 27, 31), (24, 26, 28, 32))
"""Hip, knee, ankle, toe of each leg."""
TORSO_SIDES = ((11, 12), (11, 23), (12, 24), (23, 24))
STICK_JOINTS = (0, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""Joints of a stick figure: nose, then left and right shoulder, elbow, wrist, hip, knee, ankle."""

# Half widths around each bone, in units: flesh, loose clothes and the blur of edges.
_TORSO, _UPPER_ARM, _FOREARM, _HAND = 0.30, 0.24, 0.21, 0.22
_THIGH, _SHIN, _FOOT, _HEAD, _HAIR = 0.33, 0.27, 0.24, 0.58, 0.55

HEAD_REACH = 2.0
"""Half the side of the square around head and shoulders, in units."""

_WEIGHTS = np.array([0.5, 1.0, 1.0], np.float32)  # of L*, a* and b*: limbs are shaded


@dataclass(frozen=True)
class Figure:
    """The main figure on a working picture.

    `joints` (33, 2) in pixels; `soft_mask` (H, W) from the landmarker, 0 to 1; `picture` RGB with
    its longest side WORKING_SIDE; `unit` in pixels.
    """

    picture: Image
    joints: Floats
    visibility: Floats
    soft_mask: Floats
    unit: float

    @property
    def mask(self) -> Mask:
        """The soft mask, cut at one half."""
        return (self.soft_mask > 0.5).astype(np.uint8)

    @cached_property
    def colours(self) -> Floats:
        """The picture in L*a*b*, kept because several judges use it and converting is slow."""
        return lab(self.picture)

    def in_frame(self, joint: int, margin: float = 0.0) -> bool:
        """Return True if a joint is in the picture, `margin` (share of a side) from its edge."""
        height, width = self.soft_mask.shape
        x, y = self.joints[joint] / (width, height)
        return bool(margin <= x < 1 - margin and margin <= y < 1 - margin)


def read_figure(image: Image, person: Person) -> Figure:
    """Place a person from the landmarker on the working picture."""
    picture = analysis_picture(image, WORKING_SIDE)
    height, width = picture.shape[:2]
    joints = person.joints * np.array([width, height], np.float32)
    mask = resized_mask(person.mask, height, width)
    return Figure(picture, joints, person.visibility, mask, max(figure_unit(joints), 4.0))


def figure_unit(joints: Floats) -> float:
    """Return the unit of a figure, about one head, in the pixels of its joints."""
    shoulders = _distance(joints, LEFT_SHOULDER, RIGHT_SHOULDER)
    spine = float(np.linalg.norm(joints[11:13].mean(axis=0) - joints[23:25].mean(axis=0)))
    # Shoulders narrow when seen from the side, the spine shortens when bent: take the longer.
    return max(0.62 * shoulders, 0.46 * spine)


def head_box(figure: Figure) -> Box | None:
    """Return the square around head and shoulders, None where the head is not in the frame."""
    if not figure.in_frame(NOSE):
        return None
    height, width = figure.soft_mask.shape
    x, y = (float(value) for value in figure.joints[NOSE])
    reach = HEAD_REACH * figure.unit
    return (x - reach) / width, (y - reach) / height, (x + reach) / width, (y + reach) / height


def stick_figure(person: Person) -> list[float]:
    """Return x, y of each of STICK_JOINTS as shares of the sides, beyond 0 to 1 out of frame."""
    return [round(float(value), 3) for joint in STICK_JOINTS for value in person.joints[joint]]


def explained_region(figure: Figure) -> Mask:
    """Return the area of a body of two arms and two legs, with room for hair and a skirt."""
    joints, unit = figure.joints, figure.unit
    region: Mask = np.zeros(figure.soft_mask.shape, np.uint8)

    def capsule(start: Floats, end: Floats, half_width: float) -> None:
        thickness = max(1, round(2 * half_width * unit))
        cv2.line(region, _pixel(start), _pixel(end), (1,), thickness)

    fill_hull(region, [joints[i] for i in (11, 12, 23, 24)])
    for a, b in TORSO_SIDES:
        capsule(joints[a], joints[b], _TORSO)
    for shoulder, elbow, wrist in ARMS:
        capsule(joints[shoulder], joints[elbow], _UPPER_ARM)
        capsule(joints[elbow], joints[wrist], _FOREARM)
        onward = _direction(joints[elbow], joints[wrist])
        capsule(joints[wrist], joints[wrist] + onward * 0.4 * unit, _HAND)
    for hip, knee, ankle, toe in LEGS:
        capsule(joints[hip], joints[knee], _THIGH)
        capsule(joints[knee], joints[ankle], _SHIN)
        capsule(joints[ankle], joints[toe], _FOOT)
    below_knee = [joints[h] + (joints[k] - joints[h]) * 1.12 for h, k, _, _ in LEGS]
    fill_hull(region, [joints[LEFT_HIP], joints[RIGHT_HIP], *below_knee])
    neck, pelvis = joints[11:13].mean(axis=0), joints[23:25].mean(axis=0)
    crown = joints[NOSE] + _direction(neck, joints[NOSE]) * 0.1 * unit
    radius = max(_HEAD * unit, 0.9 * _distance(joints, LEFT_EAR, RIGHT_EAR))
    cv2.circle(region, _pixel(crown), round(radius), (1,), -1)
    capsule(joints[NOSE], neck + (pelvis - neck) * 0.15, _HAIR)
    return region


def torso_region(figure: Figure) -> Mask:
    """Return the hull of shoulders and hips."""
    region: Mask = np.zeros(figure.soft_mask.shape, np.uint8)
    fill_hull(region, [figure.joints[i] for i in (11, 12, 23, 24)])
    return region


def arm_region(figure: Figure, region: Mask, tolerance: float = 12.0) -> Mask:
    """Return where an arm would show: the region without the head and without the torso's colour.

    An arm in the colour of the torso, right in front of it, looks the same as a missing one.
    """
    beyond_head = region.copy()
    cv2.circle(beyond_head, _pixel(figure.joints[NOSE]), round(0.45 * figure.unit), (0,), -1)
    torso = torso_region(figure)
    colours = figure.colours * _WEIGHTS
    inside = colours[(torso & figure.mask) > 0]
    if not len(inside):
        return beyond_head
    gaps: Floats = np.linalg.norm(colours - np.median(inside, axis=0), axis=-1)
    return beyond_head & ((1 - torso) | (gaps > tolerance).astype(np.uint8))


def bone_support(
    figure: Figure, region: Mask, bone: tuple[int, int], span: tuple[float, float]
) -> float | None:
    """Return the share of a bone in the region, from `span[0]` to `span[1]` of its length.

    None where the frame shows less than a third of it.
    """
    start, end = figure.joints[bone[0]], figure.joints[bone[1]]
    height, width = region.shape
    points = [start + (end - start) * along for along in np.linspace(*span, 9)]
    shown = [region[int(y), int(x)] for x, y in points if 0 <= x < width and 0 <= y < height]
    return float(np.mean(shown)) if len(shown) >= 3 else None


def limb_likeness(figure: Figure, tolerance: float = 10.0) -> Mask:
    """Return the pixels in one of the colours of the figure's own arms, legs and face.

    `tolerance` is a distance in L*a*b* with lightness weighed by half, as limbs are shaded.
    """
    colours = figure.colours * _WEIGHTS
    palette = _limb_palette(figure, colours)
    if not len(palette):
        return np.zeros(figure.soft_mask.shape, np.uint8)
    # Channel by channel and with one root at the end: numpy's norm over three channels is slow.
    channels = np.ascontiguousarray(np.moveaxis(colours, -1, 0))
    squares = np.full(figure.soft_mask.shape, np.inf, np.float32)
    for lightness, a, b in palette:
        gap = np.square(channels[0] - lightness) + np.square(channels[1] - a)
        np.minimum(squares, gap + np.square(channels[2] - b), out=squares)
    alike: Mask = (np.sqrt(squares) < tolerance).astype(np.uint8)
    return alike


def _limb_palette(figure: Figure, colours: Floats) -> list[Floats]:
    joints = figure.joints
    mouth = joints[[MOUTH_LEFT, MOUTH_RIGHT]].mean(axis=0)
    points = [joints[NOSE] * 0.6 + mouth * 0.4]
    for shoulder, elbow, wrist in ARMS:
        points += [joints[shoulder] + (joints[elbow] - joints[shoulder]) * t for t in (0.25, 0.75)]
        points += [joints[elbow] + (joints[wrist] - joints[elbow]) * t for t in (0.4, 0.9)]
    for hip, knee, ankle, _ in LEGS:
        points += [joints[hip] + (joints[knee] - joints[hip]) * 0.75]
        points += [joints[knee] + (joints[ankle] - joints[knee]) * t for t in (0.3, 0.8)]
    radius = max(1.0, 0.12 * figure.unit)
    patches = [patch_colour(colours, figure.mask, point, radius) for point in points]
    return [patch for patch in patches if patch is not None]


def patch_colour(colours: Floats, mask: Mask, point: Floats, radius: float) -> Floats | None:
    """Return the figure's median colour in a square around a point; None for under 3 pixels."""
    height, width = mask.shape
    x0, x1 = max(0, int(point[0] - radius)), min(width, int(point[0] + radius + 1))
    y0, y1 = max(0, int(point[1] - radius)), min(height, int(point[1] + radius + 1))
    if x1 <= x0 or y1 <= y0:
        return None
    inside = colours[y0:y1, x0:x1][mask[y0:y1, x0:x1] > 0]
    return np.median(inside, axis=0) if len(inside) >= 3 else None


def fill_hull(region: Mask, points: Sequence[Floats]) -> None:
    """Fill the convex hull of the points, in place."""
    hull = cv2.convexHull(np.round(np.array(points)).astype(np.int32))
    cv2.fillConvexPoly(region, hull, (1,))


def _direction(start: Floats, end: Floats) -> Floats:
    step = end - start
    return np.asarray(step / max(1e-6, float(np.linalg.norm(step))), np.float32)


def _distance(joints: Floats, a: int, b: int) -> float:
    return float(np.linalg.norm(joints[a] - joints[b]))


def _pixel(point: Floats) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
