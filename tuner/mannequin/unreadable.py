"""Rendered figures made unreadable at graded strength, like the output of a collapsed base.

At strength 1 no pose can be recognised by eye; at a third the pose is still visible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Image
from tuner.mannequin.figure import ARM_POSES, LEG_POSES, Figure
from tuner.mannequin.render import draw, draw_ground

Floats = npt.NDArray[np.float32]

STRENGTHS = (0.4, 0.7, 1.0)
"""Strengths at which each kind is tested."""


def unreadable(figure: Figure, size: int, kind: str, strength: float) -> Image:
    """Draw the figure with the fault `kind` of KINDS, in the same places at every strength.

    Raises KeyError for an unknown kind.
    """
    rng = np.random.default_rng([figure.jitter, 1])
    return KINDS[kind](figure, draw(figure, size), strength, rng)


def _dissolved(figure: Figure, image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Blend the figure into the ground, patch by patch, and soften it."""
    side = len(image)
    gone = np.clip(strength * (1.0 + 0.5 * _noise(side, 5, rng)), 0.0, 0.92)
    ground = draw_ground(figure, side)
    return _soft(_mixed(image, ground, gone), 0.02 * strength)


def _warped(figure: Figure, image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Bend the picture from place to place, by up to a seventh of the side."""
    side = len(image)
    ys, xs = np.mgrid[:side, :side].astype(np.float32)
    x, y = (at + 0.14 * strength * side * _noise(side, 8, rng) for at in (xs, ys))
    moved = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.uint8)


def _scattered(figure: Figure, image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Exchange patches of the figure."""
    patch = max(2, len(image) // 7)
    differs = np.abs(image.astype(int) - draw_ground(figure, len(image))).max(axis=-1) > 30
    starts = range(0, len(image) - patch + 1, patch)
    places = [(y, x) for y in starts for x in starts]
    shown = [(y, x) for y, x in places if differs[y : y + patch, x : x + patch].mean() > 0.15]
    order = rng.permutation(len(shown))[: round(strength * len(shown))]
    scattered = image.copy()
    for a, b in zip(order, np.roll(order, 1), strict=True):
        (y, x), (v, u) = shown[a], shown[b]
        scattered[y : y + patch, x : x + patch] = image[v : v + patch, u : u + patch]
    return _soft(scattered, 0.006)


def _doubled(figure: Figure, image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Draw the figure in two poses, one showing through the other in patches."""
    side = len(image)
    arms, legs = (str(poses[int(rng.integers(len(poses)))]) for poses in (ARM_POSES, LEG_POSES))
    other = replace(figure, arm_pose=arms, leg_pose=legs, jitter=int(rng.integers(2**31)))
    shift = rng.uniform(0.07, 0.18, 2) * rng.choice((-1, 1), 2) * side
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    shape = (side, side)
    moved = cv2.warpAffine(draw(other, side), move, shape, borderMode=cv2.BORDER_REPLICATE)
    through = np.clip(strength * (0.5 + 0.35 * _noise(side, 6, rng)), 0.0, 1.0)
    return _soft(_mixed(image, np.asarray(moved, np.uint8), through), 0.012 * strength)


def _blurred(figure: Figure, image: Image, strength: float, rng: np.random.Generator) -> Image:
    return _soft(image, 0.07 * strength)


def _smeared(figure: Figure, image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Drag the picture in one direction, by up to a third of the side."""
    length = max(3, round(0.34 * strength * len(image)) | 1)
    kernel = np.zeros((length, length), np.float32)
    towards = rng.uniform(0, np.pi)
    reach = np.array([np.cos(towards), np.sin(towards)]) * (length // 2)
    middle = np.array([length // 2] * 2)
    first, last = ((int(x), int(y)) for x, y in (middle - reach, middle + reach))
    cv2.line(kernel, first, last, (1.0,), 1)
    dragged = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return np.asarray(dragged, np.uint8)


KINDS: Mapping[str, Callable[[Figure, Image, float, np.random.Generator], Image]] = {
    "dissolved": _dissolved,
    "warped": _warped,
    "scattered": _scattered,
    "doubled": _doubled,
    "blurred": _blurred,
    "smeared": _smeared,
}


def _noise(side: int, cells: int, rng: np.random.Generator) -> Floats:
    """Draw smooth noise (side, side) of `cells` cells a side, mostly within -1 to 1."""
    coarse = rng.normal(0.0, 0.6, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def _mixed(image: Image, other: Image, share: Floats) -> Image:
    """Mix `share` (H, W), 0 to 1, of the other picture into `image`."""
    part = share[..., None]
    return np.asarray(np.round(image * (1.0 - part) + other * part), np.uint8)


def _soft(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(0.1, sigma * len(image))), np.uint8)
