"""Is the picture free of the marks of broken training: colour blocks, burnt colours, noise, void?

Classical measures on a picture of at most 128 pixels, so that grain and size matter little.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from metrics.contract import Image, Sample, Score
from metrics.evidence import Evidence, Judge
from metrics.preprocess import Box, analysis_picture, lab, share_box
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
    colours = lab(image)
    chroma = np.hypot(colours[..., 1], colours[..., 2])
    clipped = ((image >= 252) | (image <= 3)).any(axis=-1)
    return float((clipped & (chroma > 45.0)).mean())


def noise_level(image: Image) -> float:
    """Return the deviation of the pixel noise in grey levels (after Immerkaer 1996, with a median).

    The median leaves edges out: a drawing without noise has level 0.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    residual = np.abs(cv2.filter2D(grey, -1, kernel))
    return float(np.median(residual)) / 6.0 * 1.4826


JUDGE = Judge(NAME, score)
