"""Is a picture a drawing or a photograph? Measurements of its colours and shading.

A drawing has few colours and few soft shades between them. Pictures before a plain studio wall are
hard to tell one by one: judge a folder by the mean over its pictures.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from metrics.contract import Image
from metrics.logistic import read_logistic
from metrics.preprocess import analysis_picture, lab

DRAWN = "drawn"

_SIDE = 128
"""Longest side, in pixels, to which a larger picture is reduced before it is measured."""
_LIGHTNESS_BINS, _COLOUR_BINS = 64, 48
_SHADE = (0.5, 3.0)
"""Deviation in L*a*b* over 3 x 3 pixels of a soft shade: above plain areas, below edges."""


def drawn_log_odds(image: Image) -> float:
    """Return the log odds that a picture is a drawing: positive for drawings."""
    drawn = read_logistic("domain")(domain_evidence(image))[DRAWN]
    drawn = min(1 - 1e-6, max(1e-6, drawn))
    return math.log(drawn / (1.0 - drawn))


def domain_evidence(image: Image) -> dict[str, float]:
    """Return the measurements of a drawing: entropies of its colours, in nats, and soft shades.

    `lightness` and `colour` are the entropies of the histograms of L* and of a* with b*; `shades`
    is the share of pixels between plain areas and edges.
    """
    small = analysis_picture(image, _SIDE) if max(image.shape[:2]) > _SIDE else image
    colours = lab(small)
    mean = cv2.blur(colours, (3, 3))
    variance = cv2.blur(colours * colours, (3, 3)) - mean * mean
    deviation = np.sqrt(np.maximum(0.0, variance)).max(axis=-1)
    lightness, a, b = (colours[..., channel].ravel() for channel in range(3))
    bounds = [[-96.0, 96.0], [-96.0, 96.0]]
    return {
        "lightness": _entropy(np.histogram(lightness, _LIGHTNESS_BINS, (0.0, 100.0))[0]),
        "colour": _entropy(np.histogram2d(a, b, _COLOUR_BINS, bounds)[0]),
        "shades": float(((deviation >= _SHADE[0]) & (deviation < _SHADE[1])).mean()),
    }


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
