"""Scenes with one to four figures and their boxes, to train the small person detector.

Only the first drawing style: nothing is trained on the second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Image
from tuner.mannequin.brush import Canvas
from tuner.mannequin.figure import Figure, Ground, random_figure
from tuner.mannequin.ground import paint_ground
from tuner.mannequin.render import FINGER_SIZE, paint_figure
from tuner.mannequin.skeleton import PROPORTIONS, View, build_skeleton

SIZES = (128, 160, 192, 224, 256)
MAX_FIGURES = 4
_OVERSAMPLING = 2
_KEY = (255, 0, 255)  # background colour, which no figure has
_MIN_VISIBLE = 0.45  # share of a figure in the frame that no other figure hides
_MIN_PIXELS = 0.004  # of the picture; a smaller rest of a figure cannot be found
_TRIES = 12

Mask = npt.NDArray[np.bool_]
Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Placed:
    """A figure drawn alone on the key colour at the canvas's size, its mask and its height."""

    picture: Canvas
    mask: Mask
    height: float


def random_scene(rng: np.random.Generator, size: int | None = None) -> tuple[Image, Boxes]:
    """Draw a scene: RGB (size, size, 3) uint8, and its boxes (N, 4), N from 1 to 4.

    A box is left, top, right, bottom in pixels, around the visible part of its figure. `size`
    None: drawn from SIZES. Some scenes are soft like enlarged small pictures.
    """
    size = int(rng.choice(SIZES)) if size is None else size
    side = size * _OVERSAMPLING
    ground: Ground = "plain" if rng.random() < 0.4 else "cluttered"
    canvas: Canvas = np.zeros((side, side, 3), np.uint8)
    paint_ground(canvas, Figure("female", ground=ground), rng)
    placed: list[_Placed] = []
    count = int(rng.integers(1, MAX_FIGURES + 1))
    for _ in range(_TRIES):
        if len(placed) == count:
            break
        # Small figures are behind large ones: they are farther away.
        candidate = sorted([*placed, _place(rng, side, count)], key=lambda figure: figure.height)
        if _all_visible(candidate):
            placed = candidate
    for figure in placed:
        canvas[figure.mask] = figure.picture[figure.mask]
    image = np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA))
    boxes = np.array([_box(mask) for mask in _visible(placed)]) / _OVERSAMPLING
    return _softened(image, rng), boxes.astype(np.float32)


def _place(rng: np.random.Generator, side: int, count: int) -> _Placed:
    """Draw one of `count` figures somewhere in the frame; the more there are, the smaller."""
    figure = random_figure(rng, framing="full", clothed=count > 1 or rng.random() < 0.8)
    if rng.random() < 0.1:
        figure = replace(figure, limbs="extra arm" if rng.random() < 0.5 else "missing arm")
    body = PROPORTIONS[figure.style]
    close = rng.random() < (0.4 if count <= 2 else 0.1)
    height = rng.uniform(1.1, 1.8) if close else rng.uniform(0.45, 0.95) / (1 + 0.12 * (count - 1))
    top = rng.uniform(0.03, 0.15) if close else rng.uniform(0.03, max(0.05, 0.98 - height))
    reach = 0.12 + 0.11 * (count - 1)
    middle = 0.5 + rng.uniform(-reach, reach)
    scale = height / body.height
    origin = np.array([middle, top + scale * body.upper]) * side
    skeleton = build_skeleton(figure, np.random.default_rng(figure.jitter))
    picture: Canvas = np.full((side, side, 3), _KEY, np.uint8)
    view = View(origin, scale * side, fingers=side >= FINGER_SIZE * _OVERSAMPLING)
    paint_figure(picture, figure, skeleton, view)
    # A margin keeps out the pixels at the edge, which are half key colour.
    mask = (picture != np.array(_KEY, np.uint8)).any(axis=2)
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
    return _Placed(picture, inner, height)


def _visible(placed: list[_Placed]) -> list[Mask]:
    """Return the visible part of each figure; later ones are in front of earlier ones."""
    hidden: Mask = np.zeros(placed[0].mask.shape, np.bool_)
    masks: list[Mask] = []
    for figure in reversed(placed):
        masks.append(figure.mask & ~hidden)
        hidden = hidden | figure.mask
    return masks[::-1]


def _all_visible(placed: list[_Placed]) -> bool:
    pairs = zip(_visible(placed), placed, strict=True)
    return all(
        visible.mean() >= _MIN_PIXELS and visible.sum() >= _MIN_VISIBLE * figure.mask.sum()
        for visible, figure in pairs
    )


def _box(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _softened(image: Image, rng: np.random.Generator) -> Image:
    """Leave half of the pictures sharp and make the others more or less soft."""
    if rng.random() < 0.5:
        return image
    size = len(image)
    small = round(size / rng.uniform(1.2, 2.6))
    shrunk = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    enlarged = cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, np.uint8)
