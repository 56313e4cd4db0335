"""Is the picture free of the marks of broken training: colour blocks, burnt colours, noise, void?

Classical measures on a picture of at most 128 pixels, so that grain and size matter little. In
photographs fences, cobbles and foliage look like noise, and stage light looks burnt: noise is
measured where they are smoothest, and colours are burnt only where the person is burnt too. A grid
of dots, which the other measures cannot see, is found in the spectrum. Melted faces and hands are
not found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Image, Sample, Score
from metrics.evidence import Evidence, Judge
from metrics.judges.grid import grid_level
from metrics.preprocess import Box, analysis_picture, lab, resized_mask, share_box
from metrics.threshold import Threshold

NAME = "clean"

_SIDE = 128
_STRIPE = 1 / 16  # of the shorter side: anything thinner is an edge, a stalk or a lamp post
_FILLED, _EVEN = 0.96, 1.0
# Set on renders of the mannequin, sound and corrupted.
_BLOCK = Threshold(0.0078, 0.0004)
_BURNT = Threshold(0.20, 0.02)
_NOISE = Threshold(9.0, 1.0)
_FLAT = Threshold(8.0, -1.0)
# Of 306 real pictures, four dithered ones lie above 6.1, all others below 3.1.
_GRID = Threshold(4.6, 0.4)

_QUIET = 0.2
"""Share of the blocks of a photograph that are smooth enough to show its noise."""
_BLOCK_SIDE = 8
_DARK, _LIGHT = 12.0, 243.0  # mean grey levels beyond which noise is cut off
_MIN_BLOCKS = 8


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return 1 minus the probability of the likeliest artefact; a constant picture scores 0."""
    image = sample.image
    if not np.isfinite(image).all() or int(image.max()) - int(image.min()) < 2:
        return Score(NAME, 0.0, None, {"worst": "constant"})
    picture = analysis_picture(image, _SIDE) if max(image.shape[:2]) > _SIDE else image
    block = largest_colour_block(picture)
    measured = {
        "block_share": block.share,
        "burnt_share": burnt_share(picture),
        "noise": noise_level(picture),
        "contrast": float(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).std()),
    }
    clear_of = {
        "colour block": _BLOCK.against(measured["block_share"]),
        "burnt colours": _BURNT.against(measured["burnt_share"]),
        "noise": _NOISE.against(measured["noise"]),
        "no contrast": _FLAT.against(measured["contrast"]),
    }
    worst = min(clear_of, key=lambda name: clear_of[name])
    where = {"block": list(block.box)} if block.share else {}
    return Score(NAME, clear_of[worst], None, {"worst": worst, **measured, **where})


def photo_score(sample: Sample, evidence: Evidence) -> Score:
    """Return 1 minus the probability of the likeliest artefact of a photograph."""
    image = sample.image
    if int(image.max()) - int(image.min()) < 2:
        return Score(NAME, 0.0, None, {"worst": "constant"})
    picture = analysis_picture(image, _SIDE) if max(image.shape[:2]) > _SIDE else image
    block = largest_colour_block(picture)
    measured = {
        "block_share": block.share,
        "burnt_share": _burnt_person(picture, evidence),
        "noise": quiet_noise_level(picture),
        "contrast": float(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).std()),
        "grid": grid_level(image),
    }
    clear_of = {
        "colour block": _BLOCK.against(measured["block_share"]),
        "burnt colours": _BURNT.against(measured["burnt_share"]),
        "noise": _NOISE.against(measured["noise"]),
        "no contrast": _FLAT.against(measured["contrast"]),
        "grid of dots": _GRID.against(measured["grid"]),
    }
    worst = min(clear_of, key=lambda name: clear_of[name])
    where = {"block": list(block.box)} if block.share else {}
    return Score(NAME, clear_of[worst], None, {"worst": worst, **measured, **where})


@dataclass(frozen=True)
class Block:
    """A rectangle of one colour: its share of the picture, 0 to 1, and its box.

    `box` is left, top, right, bottom as shares of the picture's sides.
    """

    share: float
    box: Box = (0.0, 0.0, 0.0, 0.0)


def largest_colour_block(image: Image) -> Block:
    """Return the largest flat, strongly coloured rectangle; its share is 0 where there is none.

    Flat: the L*a*b* deviation over 3 x 3 pixels stays below 1.2, and over the whole block below 1.
    Coloured: chroma above 40. Rectangle: the component fills its box, and no side is as thin as a
    stripe. Clothes are shaded and round, walls are pale.
    """
    colours = lab(image)
    mean = cv2.blur(colours, (3, 3))
    variance = cv2.blur(colours * colours, (3, 3)) - mean * mean
    deviation = np.sqrt(np.maximum(0.0, variance)).max(axis=-1)
    chroma = np.hypot(colours[..., 1], colours[..., 2])
    flat = ((deviation < 1.2) & (chroma > 40.0)).astype(np.uint8)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    least = max(2.0, _STRIPE * min(flat.shape))
    for label in 1 + np.argsort(-boxes[1:, 4]):
        left, top, width, height, area = (int(value) for value in boxes[label])
        if min(width, height) < least or area <= _FILLED * width * height:
            continue
        inside = colours[labels == label]
        if float(inside.std(axis=0).max()) < _EVEN:
            return Block(area / flat.size, share_box((left, top, width, height), flat.shape))
    return Block(0.0)


def burnt_share(image: Image) -> float:
    """Return the share of pixels, 0 to 1, of strong colour and with a channel at its limit."""
    return float(_burnt(image).mean())


def _burnt(image: Image) -> npt.NDArray[np.bool_]:
    colours = lab(image)
    chroma = np.hypot(colours[..., 1], colours[..., 2])
    clipped = ((image >= 252) | (image <= 3)).any(axis=-1)
    return clipped & (chroma > 45.0)


def _burnt_person(picture: Image, evidence: Evidence) -> float:
    """Return the burnt share of the picture or of its main figure, whichever is less."""
    burnt = _burnt(picture)
    share = float(burnt.mean())
    if evidence.person is None:
        return share
    inside = burnt[resized_mask(evidence.person.mask, *burnt.shape) > 0.5]
    return min(share, float(inside.mean())) if len(inside) else share


def noise_level(image: Image) -> float:
    """Return the deviation of the pixel noise in grey levels (after Immerkaer 1996, with a median).

    The median leaves edges out: a drawing without noise has level 0.
    """
    return _level(np.median(_residual(image)))


def quiet_noise_level(image: Image) -> float:
    """Return the noise level in the smoothest fifth of a picture: noise is everywhere, texture not.

    Measured in blocks of 8 pixels; black and white ones, where noise is cut off, are left out.
    """
    residual = _blocks(_residual(image))
    means = _blocks(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)).mean(axis=1)
    levels = np.median(residual, axis=1)[(means > _DARK) & (means < _LIGHT)]
    return _level(np.quantile(levels, _QUIET)) if len(levels) >= _MIN_BLOCKS else 0.0


def _residual(image: Image) -> npt.NDArray[np.float32]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return np.asarray(np.abs(cv2.filter2D(grey, -1, kernel)), np.float32)


def _level(residual: float | np.floating[Any]) -> float:
    return float(residual) / 6.0 * 1.4826


def _blocks(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the pixels of each whole block, shape (blocks, 64)."""
    high, wide = (side // _BLOCK_SIDE for side in grey.shape)
    cut = grey[: high * _BLOCK_SIDE, : wide * _BLOCK_SIDE]
    tiles = cut.reshape(high, _BLOCK_SIDE, wide, _BLOCK_SIDE).transpose(0, 2, 1, 3)
    return tiles.reshape(high * wide, _BLOCK_SIDE**2)


JUDGE = Judge(NAME, score, photo_score)
