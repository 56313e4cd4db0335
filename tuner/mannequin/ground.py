"""The ground behind a figure: plain studio paper, or a cluttered room."""

from __future__ import annotations

import cv2
import numpy as np

from tuner.mannequin.brush import Canvas, Colour, fill, oval, stroke, tone
from tuner.mannequin.figure import Figure, Ground


def paint_ground(canvas: Canvas, figure: Figure, rng: np.random.Generator) -> None:
    """Paint the whole canvas in place, in the figure's style."""
    if figure.style == "second":
        _paint_second(canvas, figure.ground, rng)
        return
    wall = rng.uniform(120, 225) + rng.uniform(-22, 22, size=3)
    shade = rng.uniform(0.82, 0.96)
    rows = np.linspace(1.0, shade, len(canvas))[:, None, None]
    canvas[:] = np.clip(rows * wall, 0, 255).astype(np.uint8)
    if figure.ground == "cluttered":
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


def _paint_second(canvas: Canvas, ground: Ground, rng: np.random.Generator) -> None:
    """Paint a wall in a spotlight, or a room with wallpaper and furniture."""
    side = len(canvas)
    wall = rng.uniform(105, 215) + rng.uniform(-30, 30, size=3)
    rows, columns = np.mgrid[0:side, 0:side] / side
    x, y = rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.5)
    light = 1.08 - rng.uniform(0.2, 0.4) * np.hypot(columns - x, rows - y)
    canvas[:] = np.clip(light[..., None] * wall, 0, 255).astype(np.uint8)
    if ground == "plain":
        return
    stripe = tone(tuple(wall), rng.uniform(0.85, 0.95))
    width = rng.uniform(0.03, 0.09) * side
    for left in np.arange(0, side, 2 * width):
        fill(canvas, _box(left, 0, left + width, side), stripe)
    horizon = rng.uniform(0.7, 0.88) * side
    floor = tone((rng.uniform(90, 150), rng.uniform(60, 110), rng.uniform(40, 90)), 1.0)
    fill(canvas, _box(0, horizon, side, side), floor)
    stroke(canvas, [[0, horizon], [side, horizon]], 0.012 * side, tone(floor, 0.6))
    for _ in range(int(rng.integers(3, 7))):
        x, size = rng.uniform(0.0, 0.95) * side, rng.uniform(0.08, 0.26) * side
        colour = tuple(np.clip(rng.uniform(70, 190) + rng.uniform(-50, 50, size=3), 0, 255))
        thing = (_window, _plant, _lamp)[int(rng.integers(3))]
        thing(
            canvas,
            (x, rng.uniform(0.05, 0.5) * side if thing is _window else horizon),
            size,
            colour,
        )


def _box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _window(canvas: Canvas, at: tuple[float, float], size: float, colour: Colour) -> None:
    x, y = at
    fill(canvas, _box(x, y, x + size, y + 1.2 * size), tone(colour, 0.5))
    for column in (0.07, 0.54):
        for row in (0.08, 0.64):
            pane = (x + column * size, y + row * size)
            fill(canvas, _box(*pane, pane[0] + 0.39 * size, pane[1] + 0.48 * size), colour)


def _plant(canvas: Canvas, at: tuple[float, float], size: float, colour: Colour) -> None:
    x, y = at
    for lean in (-0.5, -0.2, 0.15, 0.45):
        tip = (x + lean * size, y - size * (1.5 - abs(lean)))
        stroke(canvas, [[x, y], tip], 0.12 * size, (60, 110 + 60 * lean, 60))
    pot = [[x - 0.25 * size, y - 0.3 * size], [x + 0.25 * size, y - 0.3 * size]]
    fill(
        canvas, [*pot, [x + 0.17 * size, y + 0.2 * size], [x - 0.17 * size, y + 0.2 * size]], colour
    )


def _lamp(canvas: Canvas, at: tuple[float, float], size: float, colour: Colour) -> None:
    x, y = at
    stroke(canvas, [[x, y], [x, y - 2 * size]], 0.06 * size, (70, 66, 64))
    top = y - 2 * size
    shade = [[x - 0.2 * size, top - 0.5 * size], [x + 0.2 * size, top - 0.5 * size]]
    fill(canvas, [*shade, [x + 0.4 * size, top], [x - 0.4 * size, top]], colour)
