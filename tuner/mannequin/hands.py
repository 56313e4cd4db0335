"""Hands with a palm and five fingers, for pictures that are large enough (192 px and more).

MediaPipe's hand landmarker finds 163 of 164 hands on full bodies at 256 px if the whole hand lies
in the picture (raised arms leave it: 9 of 23), and 51 of 51 that lie wholly in a half-body picture,
in both drawing styles, with no false hand on 480 figures. But half bodies mostly end above the
hands: there it finds a hand on 45 to 50 of 100 figures, and a missing hand may be no fault. So
hands count only if the wrist lies inside the frame with a hand's length to spare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tuner.mannequin.brush import Canvas, Colour, fill, tone, tube
from tuner.mannequin.skeleton import View

Floats = npt.NDArray[np.float64]

# In hand lengths: across the hand (the thumb's side is negative), along it from the wrist.
_PALM = np.array(
    [
        (-0.12, -0.02),
        (-0.19, 0.12),
        (-0.24, 0.36),
        (-0.225, 0.47),
        (-0.07, 0.52),
        (0.06, 0.515),
        (0.20, 0.46),
        (0.215, 0.25),
        (0.15, 0.08),
        (0.12, -0.02),
    ]
)
# Knuckle (across, along), sideways lean, length, radius: index, middle, ring and little finger.
_FINGERS = (
    (-0.185, 0.45, -0.20, 0.36, 0.052),
    (-0.068, 0.48, -0.06, 0.42, 0.055),
    (0.055, 0.475, 0.07, 0.40, 0.055),
    (0.165, 0.44, 0.19, 0.34, 0.052),
)
_THUMB = np.array([(-0.10, 0.14), (-0.26, 0.30), (-0.36, 0.45), (-0.41, 0.56)])
_THUMB_RADII = np.array([0.095, 0.075, 0.062, 0.052])
_RIM = 0.022


@dataclass(frozen=True)
class HandLook:
    """Skin colour, length from wrist to fingertip in heads, tone factor of the edges (0..1)."""

    skin: Colour
    length: float = 0.74
    edge: float = 0.62


def draw_hand(
    canvas: Canvas, elbow: np.ndarray, wrist: np.ndarray, view: View, look: HandLook
) -> None:
    """Draw an open hand at the end of a forearm, in place; the thumb points up or to the body."""
    along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    across = np.array([-along[1], along[0]])
    if _thumb_turned(wrist, along, across):
        across = -across
    turn = np.stack([across, along]) * look.length
    pixels = view.scale * look.length
    rim = max(1.0, _RIM * pixels)
    dark = tone(look.skin, look.edge)
    fingers = [_finger(*finger) for finger in _FINGERS]
    palm = view(wrist + _PALM @ turn)
    middle = palm.mean(axis=0)
    for joints, radii in (*fingers, (_THUMB, _THUMB_RADII)):
        tube(canvas, view(wrist + joints @ turn), radii * pixels + rim, dark)
    fill(canvas, middle + (palm - middle) * 1.11, dark)
    fill(canvas, palm, look.skin)
    for joints, radii in fingers:
        tube(canvas, view(wrist + joints @ turn), radii * pixels, look.skin)
        tube(canvas, view(wrist + joints @ turn), radii * pixels * 0.45, tone(look.skin, 1.06))
    tube(canvas, view(wrist + _THUMB @ turn), _THUMB_RADII * pixels, look.skin)


def _thumb_turned(wrist: np.ndarray, along: np.ndarray, across: np.ndarray) -> bool:
    """Return True if the thumb's side, minus `across`, points down or away from the body."""
    if abs(along[0]) > 0.75:
        return bool(across[1] < 0)
    return bool(np.sign(-across[0]) == np.sign(wrist[0]))


def _finger(
    across: float, along: float, lean: float, length: float, radius: float
) -> tuple[Floats, Floats]:
    """Return the joints (4, 2) from inside the palm to the tip, and their radii (4,)."""
    shares = np.array([-0.12, 0.45, 0.75, 1.0]) * length
    joints = np.stack([across + lean * shares, along + (1 - 0.3 * abs(lean)) * shares], axis=1)
    return joints, np.array([1.08, 1.0, 0.94, 0.82]) * radius
