"""The first drawing style: rounded shapes in three tones, light from the upper left.

The base, the data set and the judges' small models are made from these pictures. Up to 128 px no
pixel may change: the shipped weights were trained on them, and a test compares their checksums.
"""

from __future__ import annotations

import numpy as np

from tuner.mannequin.brush import Canvas, limb, oval, shaded, stroke, tone
from tuner.mannequin.figure import CLOTH_COLOURS, HAIR_COLOURS, SKINS, Figure
from tuner.mannequin.hands import HandLook, draw_hand
from tuner.mannequin.skeleton import NECK, Skeleton, View


def paint_first(canvas: Canvas, figure: Figure, skeleton: Skeleton, view: View) -> None:
    """Draw the figure on its ground, in place; with fingers if `view.fingers` is set."""
    _draw_hair_behind(canvas, figure, skeleton, view)
    _draw_legs(canvas, figure, skeleton, view)
    _draw_torso(canvas, figure, skeleton, view)
    for arm in skeleton.arms:
        _draw_arm(canvas, figure, arm, view)
    _draw_head(canvas, figure, skeleton, view)


def _draw_hair_behind(canvas: Canvas, figure: Figure, skeleton: Skeleton, view: View) -> None:
    if not figure.long_hair:
        return
    neck, nose = skeleton.joints["neck"], skeleton.joints["nose"]
    shape = np.array(
        [[-0.5, -0.2], [0.5, -0.2], [0.62, 1.35], [0.3, 1.5], [-0.3, 1.5], [-0.62, 1.35]]
    )
    shaded(
        canvas, view(np.array([neck[0], nose[1]]) + shape), tone(HAIR_COLOURS[figure.hair], 0.85)
    )


def _draw_legs(canvas: Canvas, figure: Figure, skeleton: Skeleton, view: View) -> None:
    skin, unit, wide = SKINS[figure.skin], view.scale, figure.build
    bare = not figure.clothed or figure.top == "dress" or figure.bottom == "skirt"
    cloth = CLOTH_COLOURS[figure.bottom_colour]
    for hip, knee, ankle in skeleton.legs:
        thigh, shin = 0.36 * wide * unit, 0.25 * wide * unit
        limb(canvas, view(knee), shin, view(ankle), 0.15 * unit, skin)
        limb(canvas, view(hip), thigh, view(knee), shin, skin)
        foot = ankle + [np.sign(ankle[0] - hip[0] + 1e-6) * 0.2, 0.16]
        shoe = (58, 46, 42) if figure.clothed else skin
        limb(canvas, view(ankle + [0, 0.08]), 0.16 * unit, view(foot), 0.13 * unit, shoe)
        if bare:
            continue
        if figure.bottom == "trousers":
            limb(canvas, view(knee), shin * 1.12, view(ankle), 0.22 * unit, cloth)
            limb(canvas, view(hip), thigh * 1.06, view(knee), shin * 1.15, cloth)
        else:
            middle = hip + (knee - hip) * 0.62
            limb(canvas, view(hip), thigh * 1.08, view(middle), thigh * 1.0, cloth)


def _torso_shape(figure: Figure, skeleton: Skeleton) -> np.ndarray:
    male = figure.sex == "male"
    neck = skeleton.joints["neck"]
    left, right = skeleton.joints["left_shoulder"], skeleton.joints["right_shoulder"]
    wide = figure.build
    waist, hip = (0.62, 0.66) if male else (0.50, 0.74)
    flank = [[waist * wide, -0.85], [hip * wide, 0.05], [hip * wide * 0.9, 0.42]]
    collar = [right + [-0.14, -0.12], neck + [-0.24, -0.08], neck + [0.24, -0.08]]
    left_side = [left + [0.14, -0.12], left + [0.1, 0.35], *flank]
    right_side = [[-x, y] for x, y in reversed(flank)]
    return np.array([*collar, *left_side, *right_side, right + [-0.1, 0.35]])


def _draw_torso(canvas: Canvas, figure: Figure, skeleton: Skeleton, view: View) -> None:
    skin, unit = SKINS[figure.skin], view.scale
    neck = skeleton.joints["neck"]
    shape = _torso_shape(figure, skeleton)
    shaded(canvas, view(shape), skin)
    if figure.clothed:
        colour = CLOTH_COLOURS[figure.top_colour]
        if figure.top != "dress":
            hips = np.array([shape[5], shape[6], shape[7], shape[8], shape[9], shape[10]])
            shaded(canvas, view(hips), CLOTH_COLOURS[figure.bottom_colour])
            if figure.bottom == "skirt":
                _draw_skirt(canvas, shape, view, 1.25, CLOTH_COLOURS[figure.bottom_colour])
        upper = shape.copy()
        upper[[6, 9], 1], upper[[7, 8], 1] = -0.35, -0.2
        shaded(canvas, view(upper), colour)
        if figure.top == "dress":
            _draw_skirt(canvas, shape, view, 1.75, colour)
    else:
        for height in (-0.85, 0.02):  # the seams of a shop-window mannequin
            half = 0.5 * figure.build
            seam = np.array([[-half, height], [0, height + 0.06], [half, height]])
            stroke(canvas, view(seam), 0.035 * unit, tone(skin, 0.72))
    limb(canvas, view(neck + [0, 0.12]), 0.23 * unit, view(neck + [0, -NECK]), 0.21 * unit, skin)


def _draw_skirt(
    canvas: Canvas, shape: np.ndarray, view: View, length: float, colour: tuple[int, int, int]
) -> None:
    hem = np.array([[0.98, length], [-0.98, length]])
    waist = np.array([[shape[5][0], -0.6], [shape[6][0] * 1.05, 0.05]])
    mirror = waist[::-1] * [-1, 1]
    shaded(canvas, view(np.concatenate([waist, hem, mirror])), colour)


def _draw_arm(
    canvas: Canvas, figure: Figure, arm: tuple[np.ndarray, np.ndarray, np.ndarray], view: View
) -> None:
    shoulder, elbow, wrist = arm
    skin, unit = SKINS[figure.skin], view.scale
    upper, lower = 0.21 * figure.build * unit, 0.165 * figure.build * unit
    limb(canvas, view(shoulder), upper, view(elbow), lower, skin)
    limb(canvas, view(elbow), lower, view(wrist), 0.12 * unit, skin)
    if view.fingers:
        draw_hand(canvas, elbow, wrist, view, HandLook(skin))
    else:
        hand = wrist + (wrist - elbow) / np.linalg.norm(wrist - elbow) * 0.26
        limb(canvas, view(wrist), 0.12 * unit, view(hand), 0.15 * unit, skin)
    if not figure.clothed or figure.top == "tank top":
        return
    cloth = CLOTH_COLOURS[figure.top_colour]
    if figure.top == "sweater":
        limb(canvas, view(elbow), lower * 1.2, view(elbow + (wrist - elbow) * 0.92), lower, cloth)
        limb(canvas, view(shoulder), upper * 1.18, view(elbow), lower * 1.22, cloth)
    else:
        sleeve = shoulder + (elbow - shoulder) * 0.62
        limb(canvas, view(shoulder), upper * 1.2, view(sleeve), upper * 1.12, cloth)


def _draw_head(canvas: Canvas, figure: Figure, skeleton: Skeleton, view: View) -> None:
    skin, hair, unit = SKINS[figure.skin], HAIR_COLOURS[figure.hair], view.scale
    male = figure.sex == "male"
    centre = skeleton.joints["nose"] + [0, -0.06]
    oval(canvas, view(centre + [0, -0.08]), (0.47 * unit, 0.52 * unit), tone(hair, 0.9))
    width = 0.40 if male else 0.37
    oval(canvas, view(centre + [0, 0.04]), (width * unit, 0.5 * unit), tone(skin, 0.8))
    oval(
        canvas, view(centre + [-0.02, 0.02]), ((width - 0.03) * unit, 0.46 * unit), tone(skin, 1.03)
    )
    if figure.beard:
        jaw = np.array(
            [
                [-0.36, 0.12],
                [-0.2, 0.2],
                [0.2, 0.2],
                [0.36, 0.12],
                [0.26, 0.45],
                [0, 0.56],
                [-0.26, 0.45],
            ]
        )
        shaded(canvas, view(centre + jaw), tone(hair, 0.9))
    fringe = [
        [-0.43, -0.02],
        [-0.36, -0.4],
        [0, -0.58],
        [0.36, -0.4],
        [0.43, -0.02],
        [0.26, -0.28],
        [-0.2, -0.32],
    ]
    shaded(canvas, view(centre + np.array(fringe)), hair)
    if figure.long_hair:
        for side in (-1, 1):
            lock = [[0.36, -0.35], [0.5, -0.1], [0.52, 0.62], [0.38, 0.66], [0.37, 0.0]]
            shaded(canvas, view(centre + np.array(lock) * [side, 1]), hair)
    _draw_face(canvas, figure, centre, view)


def _draw_face(canvas: Canvas, figure: Figure, centre: np.ndarray, view: View) -> None:
    skin, hair, unit = SKINS[figure.skin], HAIR_COLOURS[figure.hair], view.scale
    male = figure.sex == "male"
    iris = (210, 20, 24) if figure.red_eyes else (52, 40, 34)
    for side in (-1, 1):
        eye = centre + [side * 0.165, -0.02]
        oval(canvas, view(eye), (0.095 * unit, 0.055 * unit), (246, 246, 246))
        oval(canvas, view(eye), (0.05 * unit, 0.055 * unit), iris)
        brow = eye + np.array([[-0.1, -0.11], [0.0, -0.14], [0.1, -0.11]])
        stroke(canvas, view(brow), (0.055 if male else 0.032) * unit, tone(hair, 0.75))
    nose = centre + np.array([[0.02, 0.02], [0.05, 0.16], [-0.03, 0.18]])
    stroke(canvas, view(nose), 0.03 * unit, tone(skin, 0.66))
    lips = (168, 96, 84) if male else (204, 36, 60)
    oval(canvas, view(centre + [0, 0.29]), (0.13 * unit, 0.04 * unit), lips)
    stroke(
        canvas,
        view(centre + np.array([[-0.13, 0.285], [0.13, 0.285]])),
        0.02 * unit,
        tone(lips, 0.6),
    )
