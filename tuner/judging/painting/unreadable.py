"""A figure made unreadable in a sound picture, as a collapsed model draws it; its ground stays."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from metrics.contract import Image
from metrics.figure.figure import Floats, Mask
from tuner.judging.painting.body import PictureBody

_BEND, _BEND_CELL = 1.3, 0.8
"""Largest shift of a bent figure's parts and the distance over which it changes, in units: about a
head, so that no limb keeps its course."""
_PATCH = 1.1
"""Side in units of the patches that change places: larger than a head, smaller than a torso."""
_SHOWN = 0.3
"""Least share of a patch on the figure."""


def unreadable_figures(body: PictureBody, seed: int) -> Iterator[tuple[str, Image]]:
    """Yield (fault, picture) with the figure bent from place to place, and with its parts mixed."""
    rng = np.random.default_rng([seed, 2])
    yield "figure bent", _bent(body, rng)
    mixed = _mixed(body, rng)
    if mixed is not None:
        yield "figure mixed up", mixed


def _bent(body: PictureBody, rng: np.random.Generator) -> Image:
    height, width = body.mask.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    cell = max(4.0, _BEND_CELL * body.unit)
    shift_x, shift_y = (_BEND * body.unit * _noise(body.mask.shape, cell, rng) for _ in range(2))
    moved = cv2.remap(
        body.image, columns + shift_x, rows + shift_y, cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip
    reach = max(1, round(0.8 * body.unit))
    near = cv2.dilate(body.mask, np.ones((3, 3), np.uint8), iterations=reach)
    share = cv2.GaussianBlur(near.astype(np.float32), (0, 0), 0.1 * body.unit + 1)[..., None]
    return np.asarray(np.round(body.image * (1 - share) + moved * share), np.uint8)


def _noise(shape: tuple[int, ...], cell: float, rng: np.random.Generator) -> Floats:
    """Return smooth noise that changes over `cell` pixels, about -1 to 1."""
    coarse = rng.uniform(-1, 1, [max(3, round(side / cell)) for side in shape]).astype(np.float32)
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _mixed(body: PictureBody, rng: np.random.Generator) -> Image | None:
    """Return the picture with the figure's patches in each other's places; None for under four."""
    side = max(4, round(_PATCH * body.unit))
    height, width = body.mask.shape
    mask: Mask = body.mask
    places = [
        (y, x)
        for y in range(0, height - side + 1, side)
        for x in range(0, width - side + 1, side)
        if mask[y : y + side, x : x + side].mean() > _SHOWN
    ]
    if len(places) < 4:
        return None
    order = rng.permutation(len(places))
    mixed = body.image.copy()
    for target, source in zip(order, np.roll(order, 1), strict=True):
        (y, x), (top, left) = places[target], places[source]
        mixed[y : y + side, x : x + side] = body.image[top : top + side, left : left + side]
    return mixed
