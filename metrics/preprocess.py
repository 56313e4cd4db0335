"""The only resizing and normalising for scoring: judges never scale a picture themselves.

Pictures are RGB, shape (H, W, 3), uint8 0 to 255, unless said otherwise.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Image

MIN_SIDE = 256
"""Shortest side, in pixels, of the detectors' input: below it they miss small faces."""

MAX_SIDE = 512
"""Longest side, in pixels, of a larger picture for the detectors.

They shrink it further themselves, but without a filter: on a sharp photograph of 1280 pixels
MediaPipe then finds nobody, and on the same one at 512 it does.
"""

NEUTRAL = 153
"""The grey that fills a crop outside the picture (GenEval's #999)."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as shares of the picture's width and height."""


def detector_picture(image: Image) -> Image:
    """Return the picture at a size that the detectors read well, aspect ratio kept."""
    height, width = image.shape[:2]
    shortest, longest = min(height, width), max(height, width)
    if shortest < MIN_SIDE:
        return _scaled(image, MIN_SIDE / shortest)
    return _scaled(image, MAX_SIDE / longest) if longest > MAX_SIDE else image


def analysis_picture(image: Image, side: int) -> Image:
    """Return the picture with its longest side exactly `side` pixels, aspect ratio kept."""
    return _scaled(image, side / max(image.shape[:2]))


def block_means(image: Image, side: int) -> npt.NDArray[np.float32]:
    """Return the means of side x side equal blocks, shape (side, side, 3), values 0 to 255."""
    exact = image.astype(np.float32)
    return np.asarray(
        cv2.resize(exact, (side, side), interpolation=cv2.INTER_AREA), dtype=np.float32
    )


def resized_mask(mask: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """Return a soft mask, values 0 to 1, at another size."""
    return np.asarray(
        cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32
    )


def lab(image: Image) -> npt.NDArray[np.float32]:
    """Return CIE L*a*b* (D65): L from 0 to 100, a and b roughly -110 to 110."""
    unit = np.asarray(image, dtype=np.float32) / 255.0
    return np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB), dtype=np.float32)


def square_crop(image: Image, box: Box, margin: float = 0.15) -> Image:
    """Return the square around a box, `margin` wider on each side, grey outside the picture."""
    height, width = image.shape[:2]
    left, right = box[0] * width, box[2] * width
    top, bottom = box[1] * height, box[3] * height
    half = max(right - left, bottom - top) * (0.5 + margin)
    x, y = round((left + right) / 2 - half), round((top + bottom) / 2 - half)
    side = max(1, round(2 * half))
    crop: Image = np.full((side, side, 3), NEUTRAL, dtype=np.uint8)
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + side), min(height, y + side)
    if x1 > x0 and y1 > y0:
        crop[y0 - y : y1 - y, x0 - x : x1 - x] = image[y0:y1, x0:x1]
    return crop


def straightened(image: Image, matrix: npt.NDArray[np.float64], side: int) -> Image:
    """Return a square of `side` pixels: the part of the picture that `matrix` (2, 3) moves there.

    `matrix` turns, scales and shifts pixels of the picture. Outside it the edge goes on.
    """
    height, width = image.shape[:2]
    scale = float(np.hypot(*matrix[:, 0]))
    back = np.asarray(cv2.invertAffineTransform(matrix), np.float64)
    corners = np.array([(0, 0, 1), (side, 0, 1), (0, side, 1), (side, side, 1)]) @ back.T
    edge = np.ceil(1.0 / min(scale, 1.0)) + 1  # what the filters read beside the square
    left, top = np.clip(corners.min(axis=0) - edge, 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(corners.max(axis=0) + edge + 1, 1, (width, height)).astype(int)
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    small = part if scale >= 1.0 else _scaled(part, scale)
    shrunk = np.array([part.shape[1] / small.shape[1], part.shape[0] / small.shape[0]])
    # cv2 counts from the middle of a pixel: the middle of a reduced one lies between others.
    turned, middle = matrix[:, :2] * shrunk, (shrunk - 1.0) / 2.0 + (left, top)
    moved = np.c_[turned, matrix[:, :2] @ middle + matrix[:, 2]]
    return np.asarray(
        cv2.warpAffine(
            small, moved, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ),
        np.uint8,
    )


def share_box(pixels: tuple[int, int, int, int], shape: tuple[int, ...]) -> Box:
    """Return the box of `pixels` (left, top, width, height) in a picture of shape (H, W, ...)."""
    left, top, width, height = pixels
    edges = (left, top, left + width, top + height)
    sides = (shape[1], shape[0]) * 2
    x0, y0, x1, y1 = (round(edge / side, 3) for edge, side in zip(edges, sides, strict=True))
    return x0, y0, x1, y1


def overlap(first: Box, second: Box) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / max(1e-9, sum(areas) - width * height)


def _scaled(image: Image, scale: float) -> Image:
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)
