"""The ground behind a figure: plain studio paper, or a cluttered room."""

from __future__ import annotations

import cv2
import numpy as np

from tuner.mannequin.brush import Canvas, fill, oval, stroke, tone
from tuner.mannequin.figure import Ground


def paint_ground(canvas: Canvas, ground: Ground, rng: np.random.Generator) -> None:
    """Paint the whole canvas, in place."""
    wall = rng.uniform(120, 225) + rng.uniform(-22, 22, size=3)
    shade = rng.uniform(0.82, 0.96)
    rows = np.linspace(1.0, shade, len(canvas))[:, None, None]
    canvas[:] = np.clip(rows * wall, 0, 255).astype(np.uint8)
    if ground == "cluttered":
        _paint_room(canvas, wall, rng)


def _paint_room(canvas: Canvas, wall: np.ndarray, rng: np.random.Generator) -> None:
    side = len(canvas)
    horizon = rng.uniform(0.62, 0.82) * side
    floor = tone(tuple(wall * rng.uniform(0.55, 0.8) + rng.uniform(-18, 18, size=3)), 1.0)
    cv2.rectangle(canvas, (0, int(horizon)), (side, side), tuple(map(float, floor)), -1)
    for _ in range(int(rng.integers(3, 8))):
        colour = tuple(np.clip(rng.uniform(70, 200) + rng.uniform(-40, 40, size=3), 0, 255))
        x, y = rng.uniform(-0.1, 1.0) * side, rng.uniform(0.0, 0.85) * side
        width, height = rng.uniform(0.06, 0.3, size=2) * side
        kind = int(rng.integers(3))
        if kind == 0:
            box = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
            fill(canvas, box, colour)
            stroke(canvas, [*box, box[0]], 0.008 * side, tone(colour, 0.6))
        elif kind == 1:
            oval(canvas, (x, y), (width / 2, height / 2), colour)
        else:
            line = rng.uniform(0, side, size=(2, 2))
            stroke(canvas, line, 0.012 * side, colour)
