"""Shaded, antialiased shapes on an RGB canvas. Coordinates are pixels of the canvas."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Canvas = npt.NDArray[np.uint8]
Colour = tuple[int, int, int] | tuple[float, float, float]

_SHIFT = 4  # fractional bits of cv2's fixed-point coordinates
_LIGHT = np.array([-0.45, -0.6])  # light comes from the upper left
_EDGE_TONE, _SHADOW_TONE = 0.45, 0.8  # of the second style, which draws edges


def tone(colour: Colour, factor: float) -> tuple[int, int, int]:
    """Make a colour darker (factor < 1) or lighter (> 1), clipped to 0..255."""
    r, g, b = (int(min(255, max(0, channel * factor))) for channel in colour)
    return r, g, b


def fill(canvas: Canvas, points: npt.ArrayLike, colour: Colour) -> None:
    """Fill a polygon of shape (N, 2)."""
    fixed = np.round(np.asarray(points, dtype=np.float64) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], tuple(map(float, colour)), cv2.LINE_AA, _SHIFT)


def outline(
    start: npt.NDArray[np.float64], r0: float, end: npt.NDArray[np.float64], r1: float
) -> npt.NDArray[np.float64]:
    """Return the outline (18, 2) of a tapered capsule between two discs."""
    direction = end - start
    heading = np.arctan2(direction[1], direction[0])
    arc = np.linspace(np.pi / 2, 3 * np.pi / 2, 9) + heading
    ring0 = start + r0 * np.stack([np.cos(arc), np.sin(arc)], axis=1)
    ring1 = end + r1 * np.stack([np.cos(arc + np.pi), np.sin(arc + np.pi)], axis=1)
    return np.concatenate([ring0, ring1])


def limb(
    canvas: Canvas,
    start: npt.NDArray[np.float64],
    r0: float,
    end: npt.NDArray[np.float64],
    r1: float,
    colour: Colour,
) -> None:
    """Draw a tapered tube in three tones: dark rim, body colour, highlight towards the light."""
    for share, shift, factor in ((1.0, 0.0, 0.68), (0.78, 0.18, 1.0), (0.34, 0.42, 1.14)):
        offset = _LIGHT * shift
        body = outline(start + offset * r0, r0 * share, end + offset * r1, r1 * share)
        fill(canvas, body, tone(colour, factor))


def shaded(canvas: Canvas, points: npt.NDArray[np.float64], colour: Colour) -> None:
    """Fill a polygon in three tones, each shrunk about its middle towards the light."""
    middle = points.mean(axis=0)
    reach = np.abs(points - middle).max(axis=0)
    for share, shift, factor in ((1.0, 0.0, 0.68), (0.86, 0.07, 1.0), (0.45, 0.22, 1.1)):
        fill(
            canvas,
            middle + (points - middle) * share + _LIGHT * shift * reach,
            tone(colour, factor),
        )


def oval(canvas: Canvas, centre: npt.ArrayLike, axes: tuple[float, float], colour: Colour) -> None:
    """Fill an ellipse with half axes (x, y)."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    ring = np.stack([np.cos(angle) * axes[0], np.sin(angle) * axes[1]], axis=1)
    fill(canvas, np.asarray(centre) + ring, colour)


def stroke(canvas: Canvas, points: npt.ArrayLike, width: float, colour: Colour) -> None:
    """Draw an open line through points of shape (N, 2)."""
    fixed = np.round(np.asarray(points, dtype=np.float64) * (1 << _SHIFT)).astype(np.int32)
    thickness = max(1, round(width))
    cv2.polylines(canvas, [fixed], False, tuple(map(float, colour)), thickness, cv2.LINE_AA, _SHIFT)


def tube(
    canvas: Canvas, joints: npt.NDArray[np.float64], radii: npt.NDArray[np.float64], colour: Colour
) -> None:
    """Draw a bent tube of one colour through joints (N, 2) with radii (N,)."""
    for i in range(len(joints) - 1):
        fill(canvas, outline(joints[i], radii[i], joints[i + 1], radii[i + 1]), colour)


def cel_tube(
    canvas: Canvas, joints: npt.NDArray[np.float64], radii: npt.NDArray[np.float64], colour: Colour
) -> None:
    """Draw a bent tube with a dark edge and a shadow on the side away from the upper right."""
    edge = _edge(canvas)
    tube(canvas, joints, radii + edge, tone(colour, _EDGE_TONE))
    tube(canvas, joints, radii, tone(colour, _SHADOW_TONE))
    tube(canvas, joints + np.array([0.2, -0.12]) * radii[:, None], radii * 0.78, colour)


def cel(canvas: Canvas, points: npt.NDArray[np.float64], colour: Colour) -> None:
    """Fill a polygon with a dark edge and a shadow on the side away from the upper right."""
    edge = _edge(canvas)
    fill(canvas, points, tone(colour, _SHADOW_TONE))
    middle = points.mean(axis=0)
    reach = np.abs(points - middle).max(axis=0)
    fill(canvas, middle + (points - middle) * 0.88 + np.array([0.07, -0.03]) * reach, colour)
    closed = np.concatenate([points, points[:1]])
    stroke(canvas, closed, 2 * edge, tone(colour, _EDGE_TONE))


def _edge(canvas: Canvas) -> float:
    return 0.0045 * len(canvas)
