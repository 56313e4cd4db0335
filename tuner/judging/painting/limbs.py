"""Wrong limbs painted into a sound picture: removed before a believable ground, or added.

A removed limb's place is filled with a piece of the picture's own ground, the one that fits its
rim best. An added limb is a copy of one of the figure's own, turned about a joint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Image
from metrics.figure.figure import ARMS, LEGS, Floats, Mask
from tuner.judging.painting.body import PictureBody, capsule, torso_mask

_WIDTH, _HAND, _FOOT = 0.55, 0.6, 0.75  # in units: width of a sleeve, wrist to fingertips, foot
_ERASED = 0.8
"""Width of the erased strip, in units: sleeves and trousers are wider than arms and legs."""
_ANGLES = (60, -60, 90, -90, 120, -120)
_HIDDEN = 0.45
"""Largest share of an added limb on the figure: its joint lies there, the rest has to show."""
_FREE = 0.6
"""Least share of a removed limb that lies beside the torso: nothing can fill a hole in clothes."""
_OFFSETS = np.linspace(-3.0, 3.0, 13)
_TOUCHING = 0.02
"""Largest share of the filling that may come from the figure: its mask has a ragged rim."""


def painted_limbs(body: PictureBody) -> Iterator[tuple[str, Image]]:
    """Yield (fault, picture) for each wrong limb that the picture can be given.

    The first suitable limb of each kind is taken: forearm and lower leg removed, arm, forearm and
    leg added.
    """
    faults = (
        ("forearm removed", _removals(body, [arm[1:] for arm in ARMS], _HAND)),
        ("lower leg removed", _removals(body, [leg[1:3] for leg in LEGS], _FOOT)),
        ("arm added", _additions(body, ARMS, _HAND)),
        ("forearm added", _additions(body, [arm[1:] for arm in ARMS], _HAND)),
        ("leg added", _additions(body, [leg[:3] for leg in LEGS], _FOOT)),
    )
    for fault, pictures in faults:
        picture = next(pictures, None)
        if picture is not None:
            yield fault, picture


def _removals(
    body: PictureBody, limbs: Sequence[tuple[int, ...]], onward: float
) -> Iterator[Image]:
    """Yield the picture without a limb, for each limb that is shown and lies beside the torso."""
    torso = torso_mask(body)
    for limb in limbs:
        if not body.shows(*limb):
            continue
        strip = capsule(body, limb, _ERASED, onward)
        rest = _other_limbs(body, limb)
        near = cv2.dilate(body.mask, np.ones((5, 5), np.uint8), iterations=2)
        hole = strip & near & (1 - torso) & (1 - rest)
        shown = strip & body.mask
        if hole.sum() < 50 or float((shown & hole).sum()) < _FREE * float(shown.sum()):
            continue
        filled = filled_with_ground(body.image, hole, body.mask)
        if filled is not None:
            yield filled


def _other_limbs(body: PictureBody, limb: tuple[int, ...]) -> Mask:
    """Return the strips of the other limbs, narrow: a removed limb may cross them."""
    region: Mask = np.zeros(body.mask.shape, np.uint8)
    for other in (*ARMS, *(leg[:3] for leg in LEGS)):
        bones = [other[:2], other[1:]]
        for bone in bones:
            if not set(bone) <= set(limb):
                region |= capsule(body, bone, 0.3, 0.0)
    return region


def filled_with_ground(image: Image, hole: Mask, figure: Mask) -> Image | None:
    """Return the picture with the hole filled by a shifted piece of its own ground.

    Of all shifts whose piece lies in the frame and off the figure, the one whose colours differ
    least along the hole's rim is taken; None where there is none.
    """
    reach = max(*cv2.boundingRect(hole)[2:], 16)
    rim = cv2.dilate(hole, np.ones((3, 3), np.uint8), iterations=3) & (1 - hole) & (1 - figure)
    best: tuple[float, npt.NDArray[np.int_]] | None = None
    for down in _OFFSETS / 2:
        for across in _OFFSETS:
            shift = np.array([round(across * reach), round(down * reach)])
            cost = _cost(image, (hole, rim, figure), shift)
            if cost is not None and (best is None or cost < best[0]):
                best = cost, shift
    if best is None:
        return None
    matrix = np.array([[1, 0, -best[1][0]], [0, 1, -best[1][1]]], np.float64)
    size = (image.shape[1], image.shape[0])
    ground = cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REFLECT)
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), 1.5)[..., None]
    alpha = np.maximum(soft, hole[..., None].astype(np.float32))
    return np.asarray(np.round(image * (1 - alpha) + ground * alpha), np.uint8)


def _cost(
    image: Image, masks: tuple[Mask, Mask, Mask], shift: npt.NDArray[np.int_]
) -> float | None:
    """Return the mean difference of colours along the rim for a shift; None if it cannot be."""
    hole, rim, figure = masks
    height, width = hole.shape
    rows, columns = np.nonzero(hole)
    moved_rows, moved_columns = rows + shift[1], columns + shift[0]
    if moved_rows.min() < 0 or moved_columns.min() < 0:
        return None
    if moved_rows.max() >= height or moved_columns.max() >= width:
        return None
    taken = figure | hole
    if float(taken[moved_rows, moved_columns].mean()) > _TOUCHING:
        return None
    rows, columns = np.nonzero(rim)
    moved_rows, moved_columns = rows + shift[1], columns + shift[0]
    inside = (moved_rows >= 0) & (moved_rows < height)
    inside &= (moved_columns >= 0) & (moved_columns < width)
    if not inside.any():
        return None
    here = image[rows[inside], columns[inside]].astype(np.float32)
    there = image[moved_rows[inside], moved_columns[inside]].astype(np.float32)
    return float(np.abs(here - there).mean())


def _additions(
    body: PictureBody, limbs: Sequence[tuple[int, ...]], onward: float
) -> Iterator[Image]:
    """Yield the picture with a copy of a limb turned about its first joint, best shown first."""
    torso = torso_mask(body)
    for limb in limbs:
        if not body.shows(*limb):
            continue
        cut = capsule(body, limb, _WIDTH, onward) & body.mask
        if float((cut & (1 - torso)).sum()) < _FREE * float(cut.sum()):
            continue
        turn = _best_turn(body, cut, body.joints[limb[0]])
        if turn is not None:
            yield _with_copy(body.image, cut, turn)


def _best_turn(body: PictureBody, cut: Mask, centre: Floats) -> npt.NDArray[np.float64] | None:
    """Return the rotation that shows most of the copy; None if it leaves the frame or hides."""
    height, width = cut.shape
    best: tuple[float, npt.NDArray[np.float64]] | None = None
    for angle in _ANGLES:
        point = (float(centre[0]), float(centre[1]))
        turn = np.asarray(cv2.getRotationMatrix2D(point, angle, 1.0), np.float64)
        turned = cv2.warpAffine(cut, turn, (width, height), flags=cv2.INTER_NEAREST)
        left, whole = float(turned.sum()), float(cut.sum())
        hidden = float((turned & body.mask).sum()) / max(1.0, left)
        if left >= 0.9 * whole > 0 and hidden <= _HIDDEN and (not best or hidden < best[0]):
            best = hidden, turn
    return None if best is None else best[1]


def _with_copy(image: Image, cut: Mask, turn: npt.NDArray[np.float64]) -> Image:
    height, width = cut.shape
    soft = cv2.GaussianBlur(cut.astype(np.float32), (0, 0), 1.0)
    alpha = cv2.warpAffine(soft, turn, (width, height))[..., None]
    copy = cv2.warpAffine(image, turn, (width, height))
    return np.asarray(np.round(image * (1 - alpha) + copy * alpha), np.uint8)
