"""A torso painted in the colour of skin, with the folds of its clothes kept as shading."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from metrics.contract import Image
from metrics.figure.figure import (
    LEFT_SHOULDER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    NOSE,
    RIGHT_SHOULDER,
    Mask,
    fill_hull,
    patch_colour,
)
from metrics.preprocess import lab
from tuner.judging.painting.body import TORSO, PictureBody, torso_mask

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
"""Strengths of the fault: the share of skin colour mixed into the clothes."""

# Mean and deviation of a torso's L*a*b* about the face's, which is redder: a guess.
_PALER, _SKIN_VARIES = (0.0, -2.0, 0.0), (4.0, 2.0, 2.0)
_NECK = 0.3  # half the width of the neck, in units
_FOLDS = 0.4  # share of the clothes' shading that skin keeps


def bare_torsos(body: PictureBody, seed: int) -> Iterator[tuple[float, Image]]:
    """Yield (strength, picture) with the torso in ever more of the skin's colour.

    The skin is that of the face, a little paler and different, as on real bodies. Nothing where
    face or torso are not shown.
    """
    if not body.shows(NOSE, *TORSO):
        return
    figure = body.figure
    skin = patch_colour(lab(figure.picture), figure.mask, figure.joints[NOSE], 0.18 * figure.unit)
    torso = _with_neck(body) & body.mask
    if skin is None or not torso.any():
        return
    edge = cv2.GaussianBlur(torso.astype(np.float32), (0, 0), 0.03 * body.unit)[..., None]
    colours = lab(body.image)
    folds = colours[..., :1] - np.median(colours[torso > 0][:, 0])
    skin = skin + np.random.default_rng(seed).normal(_PALER, _SKIN_VARIES).astype(np.float32)
    plain = np.broadcast_to(skin[1:], (*torso.shape, 2))
    bare = np.concatenate([skin[0] + _FOLDS * folds, plain], -1)
    for share in STRENGTHS:
        painted = colours + share * edge * (bare - colours)
        rgb = cv2.cvtColor(painted.astype(np.float32), cv2.COLOR_LAB2RGB)
        yield share, np.clip(np.round(rgb * 255), 0, 255).astype(np.uint8)


def _with_neck(body: PictureBody) -> Mask:
    """Return the area from shoulders to hips, with the neck: a bare torso has no collar."""
    region = torso_mask(body)
    shoulders = body.joints[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    mouth = body.joints[[MOUTH_LEFT, MOUTH_RIGHT]].mean(axis=0)
    throat = mouth + 0.6 * (shoulders - mouth)
    aside = np.array([_NECK * body.unit, 0.0], np.float32)
    fill_hull(region, [at + side for at in (throat, shoulders) for side in (aside, -aside)])
    return region
