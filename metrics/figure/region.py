"""The region of the figure, surplus limbs included: grown from the landmarker's mask."""

from __future__ import annotations

import cv2
import numpy as np

from metrics.contract import Image
from metrics.figure.figure import Figure, Mask, torso_region

_NEAR = 2.2
"""Distance from mask and skeleton within which parts of the figure are looked for, in units."""
_LIMB = 0.42
"""Largest half width, in units, of a part as thin as a limb."""
_STICKING_OUT = 0.6
"""Least distance, in units, to which a limb outside the mask reaches: less is a rim."""
_GROUND_ALIKE = 0.12
"""Share of the ground in the limbs' colours above which limbs and ground look the same."""
_AROUND = 4
"""Pixels of sure ground that GrabCut gets around the possible figure."""


def figure_region(figure: Figure, explained: Mask, alike: Mask) -> Mask:
    """Return everything that looks like the figure and is connected to it, surplus limbs included.

    The landmarker's mask follows its idea of one valid human and leaves a third arm out, so the
    mask only seeds GrabCut (Rother et al. 2004), which goes by colour and edges. Parts as thin as a
    limb, `alike` in colour, that touch the mask are seeds too: if they started as ground, GrabCut
    would learn their colour as the ground's.
    """
    mask = figure.mask
    # Dilating by a disc this large takes three times as long as measuring every distance.
    away = cv2.distanceTransform(1 - (mask | explained), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = (away <= _NEAR * figure.unit).astype(np.uint8)
    labels = np.full(mask.shape, cv2.GC_PR_BGD, np.uint8)
    labels[(mask | (_limbs_beside(figure, alike) & near)) > 0] = cv2.GC_PR_FGD
    core = cv2.erode((figure.soft_mask > 0.8).astype(np.uint8), np.ones((3, 3), np.uint8))
    labels[core > 0] = cv2.GC_FGD
    labels[near == 0] = cv2.GC_BGD
    grown = _grab_cut(figure.picture, labels) | mask
    return _touching(grown, mask)


def _limbs_beside(figure: Figure, alike: Mask) -> Mask:
    """Return the pixels of `alike` that stick out from the mask as a limb does, thin and connected.

    Nothing where the ground has the limbs' colours.
    """
    outside = alike & (1 - figure.mask)
    if float(outside.sum()) > _GROUND_ALIKE * max(1.0, float((1 - figure.mask).sum())):
        return np.zeros_like(outside)
    side = 2 * max(1, round(_LIMB * figure.unit)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    thin = outside & (1 - np.asarray(cv2.morphologyEx(outside, cv2.MORPH_OPEN, disc), np.uint8))
    joined = _touching(thin | figure.mask, figure.mask) & thin
    away = cv2.distanceTransform(1 - figure.mask, cv2.DIST_L2, 5) >= _STICKING_OUT * figure.unit
    return _touching(joined, away.astype(np.uint8))


def _touching(region: Mask, core: Mask) -> Mask:
    """Return the connected parts of the region that meet the core."""
    _, parts = cv2.connectedComponents(region)
    met = np.zeros(int(parts.max()) + 1, np.uint8)
    met[parts[(core & region) > 0]] = 1
    met[0] = 0
    return np.asarray(met[parts], np.uint8)


def joined_to_torso(figure: Figure, region: Mask) -> Mask:
    """Return the part of the region connected to the torso; all of it where it misses the torso."""
    torso = torso_region(figure)
    return _touching(region, torso) if (region & torso).any() else region


def _grab_cut(picture: Image, labels: Mask) -> Mask:
    """Run GrabCut on the box of the undecided pixels, a little wider: the rest only costs time."""
    cut: Mask = np.zeros(labels.shape, np.uint8)
    x, y, width, height = cv2.boundingRect((labels != cv2.GC_BGD).astype(np.uint8))
    box = (
        slice(max(0, y - _AROUND), y + height + _AROUND),
        slice(max(0, x - _AROUND), x + width + _AROUND),
    )
    part = np.ascontiguousarray(labels[box])
    if not (part == cv2.GC_FGD).any() or not np.isin(part, (cv2.GC_BGD, cv2.GC_PR_BGD)).any():
        return cut
    cv2.setRNGSeed(0)  # its k-means starts at random, and a score must not
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    colours = cv2.cvtColor(np.ascontiguousarray(picture[box]), cv2.COLOR_RGB2LAB)
    cv2.grabCut(colours, part, None, background, foreground, 1, cv2.GC_INIT_WITH_MASK)
    cut[box] = (part == cv2.GC_FGD) | (part == cv2.GC_PR_FGD)
    return cut
