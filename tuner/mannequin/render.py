"""The renderer: a figure as a picture and the truth about that picture; pure, seeded, fast.

It is the only source of pictures in the embedded world: the base, the judges' small models and the
data set are all made from it. An unclothed figure is a plain shop-window mannequin.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from metrics.contract import Framing, Image, Sex
from tuner.mannequin.brush import Canvas
from tuner.mannequin.figure import Figure, random_figure
from tuner.mannequin.first_style import paint_first
from tuner.mannequin.ground import paint_ground
from tuner.mannequin.second_style import paint_second
from tuner.mannequin.skeleton import PROPORTIONS, Skeleton, View, build_skeleton

__all__ = ["FINGER_SIZE", "Figure", "Truth", "draw", "draw_ground", "random_figure", "truth"]

FINGER_SIZE = 192
"""Smallest side in pixels for hands with fingers; below it a finger is thinner than a pixel."""


@dataclass(frozen=True)
class Truth:
    """True content of a picture. Joints are (x, y) as shares of its side, possibly outside 0..1."""

    joints: dict[str, tuple[float, float]]
    arms: int
    legs: int
    sex: Sex
    clothed: bool
    framing: Framing
    tags: tuple[str, ...]
    corruption: str | None


def _place(figure: Figure, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Draw the pelvis' position (x, y) and a head's length, as shares of the picture's side."""
    body = PROPORTIONS[figure.style]
    if figure.framing == "full":
        height = rng.uniform(0.80, 0.90)
        scale = height / body.height
        top = rng.uniform(0.04, 0.97 - height)
        if figure.arm_pose in ("arms up", "one arm up", "waving"):
            top = max(top, 0.075)
    else:
        scale = rng.uniform(0.205, 0.235) * body.zoom
        top = rng.uniform(0.07, 0.13)
        if figure.arm_pose in ("arms up", "one arm up"):
            scale, top = scale * 0.9, 0.17
    return np.array([0.5 + rng.uniform(-0.05, 0.05), top + scale * body.upper]), scale


def _scene(figure: Figure) -> tuple[np.random.Generator, Skeleton, np.ndarray, float]:
    rng = np.random.default_rng(figure.jitter)
    skeleton = build_skeleton(figure, rng)
    origin, scale = _place(figure, rng)
    return rng, skeleton, origin, scale


def truth(figure: Figure) -> Truth:
    """Return the truth about `draw(figure)` without drawing it."""
    _, skeleton, origin, scale = _scene(figure)
    joints = {name: tuple(origin + point * scale) for name, point in skeleton.joints.items()}
    return Truth(
        joints={name: (float(x), float(y)) for name, (x, y) in joints.items()},
        arms=figure.arms,
        legs=figure.legs,
        sex=figure.sex,
        clothed=figure.clothed,
        framing=figure.framing,
        tags=figure.tags,
        corruption=figure.corruption,
    )


def draw(figure: Figure, size: int = 64) -> Image:
    """Draw the figure as RGB, shape (size, size, 3), uint8. Equal figures give equal pictures."""
    rng, skeleton, origin, scale = _scene(figure)
    canvas = _ground(figure, size, rng)
    side = len(canvas)
    view = View(origin * side, scale * side, fingers=size >= FINGER_SIZE)
    paint_figure(canvas, figure, skeleton, view)
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return _corrupt(small, figure, rng)


def draw_ground(figure: Figure, size: int = 64) -> Image:
    """Draw the same ground as `draw`, without the figure and its faults."""
    canvas = _ground(figure, size, _scene(figure)[0])
    return np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _ground(figure: Figure, size: int, rng: np.random.Generator) -> Canvas:
    """Paint the ground on a larger canvas, which is shrunk to `size` at the end."""
    side = size * (4 if size <= 96 else 2)
    canvas: Canvas = np.zeros((side, side, 3), np.uint8)
    paint_ground(canvas, figure, rng)
    return canvas


def paint_figure(canvas: Canvas, figure: Figure, skeleton: Skeleton, view: View) -> None:
    """Draw the figure alone, in its style, over the canvas."""
    paint = paint_first if figure.style == "first" else paint_second
    paint(canvas, figure, skeleton, view)


def _corrupt(image: Image, figure: Figure, rng: np.random.Generator) -> Image:
    side = image.shape[0]
    if figure.block:
        length = max(2, round(figure.block * side))
        x, y = (int(v) for v in rng.integers(0, side - length + 1, size=2))
        hue = np.array([[[int(rng.integers(180)), 255, 235]]], np.uint8)
        image = image.copy()
        image[y : y + length, x : x + length] = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0]
    if figure.blur:
        image = cv2.GaussianBlur(image, (0, 0), figure.blur * side).astype(np.uint8)
    return image
