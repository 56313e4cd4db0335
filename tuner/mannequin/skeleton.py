"""The joints of a figure, computed from its parameters, in units of one head height.

Origin is the middle of the pelvis, x to the right of the picture, y down. "left" and "right" are
the figure's own, so its left arm is on the right side of the picture, as MediaPipe names them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tuner.mannequin.figure import Figure, Style

# Angle of upper arm and forearm in degrees from straight down, outwards positive: (left, right).
ARM_ANGLES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "arms at sides": ((12, 6), (12, 6)),
    "arms spread": ((48, 44), (48, 44)),
    "arms up": ((150, 168), (150, 168)),
    "hands on hips": ((46, -52), (46, -52)),
    "waving": ((70, 165), (12, 6)),
    "one arm up": ((160, 172), (12, 6)),
    "arm bent": ((22, 105), (14, 8)),
    "t-pose": ((90, 90), (90, 90)),
}
NECK = 0.34
"""Length of the first style's neck."""


@dataclass(frozen=True)
class Proportions:
    """Lengths of one drawing style in heads; `shoulder` and `hip` are half widths (male, female).

    `zoom` enlarges half-body pictures, which then end at the hips in every style.
    """

    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    torso: float
    neck: float
    shoulder: tuple[float, float]
    hip: tuple[float, float]
    zoom: float = 1.0

    @property
    def upper(self) -> float:
        """Length from the crown to the middle of the pelvis."""
        return self.torso + self.neck + 1.0

    @property
    def height(self) -> float:
        """Length from the crown to the sole."""
        return self.upper + 0.1 + self.thigh + self.shin + 0.3


PROPORTIONS: dict[Style, Proportions] = {
    "first": Proportions(1.18, 1.05, 1.62, 1.6, 2.25, NECK, (0.96, 0.78), (0.44, 0.48)),
    "second": Proportions(1.05, 0.95, 1.4, 1.34, 1.98, 0.27, (0.86, 0.70), (0.37, 0.42), 1.1),
}


@dataclass(frozen=True)
class Skeleton:
    """Joint positions by name; `arms` and `legs` are the drawn chains, extra limbs last."""

    joints: dict[str, np.ndarray]
    arms: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
    legs: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]


@dataclass(frozen=True)
class View:
    """A map from skeleton units to canvas pixels; `fingers`: hands are large enough for them."""

    origin: np.ndarray
    scale: float
    fingers: bool = False

    def __call__(self, point: np.ndarray) -> np.ndarray:
        """Map points of shape (..., 2) to the canvas."""
        mapped: np.ndarray = self.origin + np.asarray(point) * self.scale
        return mapped


def _chain(
    start: np.ndarray, side: int, angles: tuple[float, float], lengths: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points = [start]
    for angle, length in zip(angles, lengths, strict=True):
        radians = math.radians(angle)
        step = np.array([side * math.sin(radians), math.cos(radians)]) * length
        points.append(points[-1] + step)
    return points[0], points[1], points[2]


def _leg_angles(pose: str, rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    if pose == "walking":
        spread = rng.uniform(15, 24)
        return (spread, spread - 4), (spread * 0.9, spread * 0.9 - 4)
    return (rng.uniform(2, 7), rng.uniform(0, 5)), (rng.uniform(2, 7), rng.uniform(0, 5))


def build_skeleton(figure: Figure, rng: np.random.Generator) -> Skeleton:
    """Place every joint of the figure; `rng` adds the small deviations of its pose."""
    male = figure.sex == "male"
    body = PROPORTIONS[figure.style]
    shoulder = body.shoulder[0 if male else 1] * (0.6 + 0.4 * figure.build)
    hip = body.hip[0 if male else 1]
    arm_lengths, leg_lengths = (body.upper_arm, body.forearm), (body.thigh, body.shin)
    lean = rng.uniform(-0.06, 0.06)
    neck = np.array([lean, -body.torso])
    jitter = rng.uniform(-7, 7, size=(2, 2))
    angles = np.array(ARM_ANGLES[figure.arm_pose]) + jitter
    if rng.random() < 0.5:
        angles = angles[::-1]
    arms = [
        _chain(neck + [side * shoulder, 0.26], side, tuple(angle), arm_lengths)
        for side, angle in zip((1, -1), angles, strict=True)
    ]
    legs = [
        _chain(np.array([side * hip, 0.1]), side, angle, leg_lengths)
        for side, angle in zip((1, -1), _leg_angles(figure.leg_pose, rng), strict=True)
    ]
    joints = {"neck": neck, "nose": neck + [lean * 0.5, -body.neck - 0.42]}
    for name, chains in (("arm", arms), ("leg", legs)):
        parts = ("shoulder", "elbow", "wrist") if name == "arm" else ("hip", "knee", "ankle")
        for side_name, chain in zip(("left", "right"), chains, strict=True):
            joints |= {
                f"{side_name}_{part}": point for part, point in zip(parts, chain, strict=True)
            }
    drop = int(rng.integers(2))
    if figure.limbs == "missing arm":
        del arms[drop]
    elif figure.limbs == "missing leg":
        del legs[drop]
    elif figure.limbs == "extra arm":
        arms.append(_extra_arm((neck, shoulder), angles, arm_lengths, rng))
    elif figure.limbs == "extra leg":
        legs.append(_chain(np.array([0.0, 0.15]), 1, (rng.uniform(-5, 5), 0.0), leg_lengths))
    return Skeleton(joints, tuple(arms), tuple(legs))


def _extra_arm(
    base: tuple[np.ndarray, float],
    angles: np.ndarray,
    lengths: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place a third arm on a random side, at least 50 degrees away from that side's own arm."""
    neck, shoulder = base
    index = int(rng.integers(2))
    side = (1, -1)[index]
    own = float(angles[index][0])
    free = [angle for angle in (20.0, 55.0, 90.0, 125.0, 160.0) if abs(angle - own) >= 50]
    angle = free[int(rng.integers(len(free)))] + rng.uniform(-8, 8)
    start = neck + [side * shoulder * 0.92, rng.uniform(0.3, 0.6)]
    return _chain(start, side, (angle, angle + rng.uniform(-20, 20)), lengths)
