"""Heads of the second style: face, hair and beard."""

from __future__ import annotations

import numpy as np

from tuner.mannequin.brush import Canvas, cel, fill, oval, stroke, tone
from tuner.mannequin.figure import Figure
from tuner.mannequin.shades import EYE_SHADES, HAIR_SHADES, SKIN_SHADES
from tuner.mannequin.skeleton import Skeleton, View

_SKULL = ((-0.43, -0.12), (-0.41, 0.14), (-0.3, 0.38), (-0.12, 0.52), (0.0, 0.54))
_LOCKS = ((0.5, -0.3), (0.66, 0.1), (0.58, 0.45), (0.7, 0.8), (0.6, 1.1), (0.3, 1.02), (0.0, 1.12))
_PARTING = ((0.04, -0.6), (0.4, -0.48), (0.53, -0.1), (0.47, 0.3), (0.38, -0.02), (0.3, -0.18))
_FRINGE = ((-0.46, 0.34), (-0.52, -0.1), (-0.4, -0.5), (0.0, -0.64), (0.4, -0.5), (0.52, -0.1))
_FRINGE_EDGE = ((0.46, 0.34), (0.37, 0.0), (0.33, -0.2), (-0.33, -0.2), (-0.37, 0.0))
_QUIFF = (
    (-0.45, 0.04),
    (-0.47, -0.3),
    (-0.36, -0.52),
    (-0.28, -0.72),
    (-0.1, -0.6),
    (0.06, -0.78),
    (0.2, -0.6),
    (0.38, -0.66),
    (0.44, -0.36),
    (0.45, 0.04),
    (0.38, -0.2),
    (0.1, -0.26),
    (-0.3, -0.3),
)
_BLUSH = (230, 90, 100)
_BEARD = ((-0.42, 0.04), (-0.36, 0.36), (-0.16, 0.6), (0.16, 0.6), (0.36, 0.36), (0.42, 0.04))
_BEARD_EDGE = ((0.3, 0.12), (0.16, 0.18), (-0.16, 0.18), (-0.3, 0.12))


def draw_hair_behind(canvas: Canvas, figure: Figure, skeleton: Skeleton, view: View) -> None:
    """Draw wavy locks behind the shoulders of figures with long hair, in place."""
    if not figure.long_hair:
        return
    shape = [*_LOCKS, *((-x, y) for x, y in reversed(_LOCKS[:-1]))]
    centre = skeleton.joints["nose"] + [0, -0.06]
    cel(canvas, view(centre + np.array(shape)), tone(HAIR_SHADES[figure.hair], 0.82))


def draw_head(canvas: Canvas, figure: Figure, skeleton: Skeleton, view: View) -> None:
    """Draw skull, face, hair and beard, in place."""
    skin, hair = SKIN_SHADES[figure.skin], HAIR_SHADES[figure.hair]
    unit, centre = view.scale, skeleton.joints["nose"] + [0, -0.06]
    for side in (-1, 1):
        oval(
            canvas, view(centre + [side * 0.43, 0.04]), (0.08 * unit, 0.13 * unit), tone(skin, 0.7)
        )
        oval(canvas, view(centre + [side * 0.42, 0.04]), (0.06 * unit, 0.1 * unit), skin)
    chin = [*_SKULL, *((-x, y) for x, y in reversed(_SKULL[:-1]))]
    crown = [(0.38, -0.4), (0.0, -0.56), (-0.38, -0.4)]
    cel(canvas, view(centre + np.array([*chin, *crown])), skin)
    if figure.beard:
        cel(canvas, view(centre + np.array([*_BEARD, *_BEARD_EDGE])), hair)
    _draw_face(canvas, figure, centre, view)
    if figure.long_hair:
        for side in (-1, 1):
            cel(canvas, view(centre + np.array(_PARTING) * [side, 1]), hair)
    elif figure.sex == "female":
        cel(canvas, view(centre + np.array([*_FRINGE, *_FRINGE_EDGE])), hair)
    else:
        cel(canvas, view(centre + np.array(_QUIFF)), hair)


def _draw_face(canvas: Canvas, figure: Figure, centre: np.ndarray, view: View) -> None:
    skin, unit = SKIN_SHADES[figure.skin], view.scale
    male = figure.sex == "male"
    for side in (-1, 1):
        _draw_eye(canvas, figure, centre + [side * 0.18, 0.0], side, view)
        if not male:
            red, green, blue = (
                0.8 * part + 0.2 * blush for part, blush in zip(skin, _BLUSH, strict=True)
            )
            cheek = view(centre + [side * 0.25, 0.2])
            oval(canvas, cheek, (0.08 * unit, 0.05 * unit), (red, green, blue))
    nose = centre + np.array([[-0.02, 0.06], [-0.06, 0.18], [0.03, 0.2]])
    stroke(canvas, view(nose), 0.03 * unit, tone(skin, 0.6))
    lips = tone(skin, 0.62) if male else (196, 62, 84)
    smile = centre + np.array([[-0.15, 0.315], [-0.06, 0.35], [0.06, 0.35], [0.15, 0.315]])
    if not male:
        full = [[-0.13, 0.32], [-0.04, 0.29], [0.04, 0.29], [0.13, 0.32], [0.0, 0.42]]
        fill(canvas, view(centre + np.array(full)), lips)
    stroke(canvas, view(smile), (0.045 if male else 0.025) * unit, tone(lips, 0.6))


def _draw_eye(canvas: Canvas, figure: Figure, eye: np.ndarray, side: int, view: View) -> None:
    unit, hair = view.scale, HAIR_SHADES[figure.hair]
    male = figure.sex == "male"
    iris = (222, 26, 30) if figure.red_eyes else EYE_SHADES[figure.jitter % 3]
    oval(canvas, view(eye), (0.1 * unit, 0.075 * unit), (252, 250, 246))
    oval(canvas, view(eye + [0.01, 0.01]), (0.055 * unit, 0.065 * unit), iris)
    pupil = tone(iris, 0.3) if not figure.red_eyes else (120, 6, 10)
    oval(canvas, view(eye + [0.01, 0.01]), (0.025 * unit, 0.03 * unit), pupil)
    lid = eye + np.array([[-0.11, 0.0], [-0.05, -0.075], [0.05, -0.075], [0.11, 0.0]])
    stroke(canvas, view(lid), (0.03 if male else 0.045) * unit, (34, 26, 28))
    if not male:
        lash = eye + np.array([[side * 0.1, -0.01], [side * 0.16, -0.06]])
        stroke(canvas, view(lash), 0.035 * unit, (34, 26, 28))
    brow = eye + np.array([[-side * 0.09, -0.16], [side * 0.12, -0.17 if male else -0.19]])
    stroke(canvas, view(brow), (0.07 if male else 0.035) * unit, tone(hair, 0.6))
