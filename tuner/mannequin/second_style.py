"""The second drawing style, which nothing is trained on: it tests how judges generalise.

Flat colours with dark edges and one broad shadow, light from the upper right; larger heads and
shorter limbs; other eyes, hair, cuts of clothes and shades. A figure's parameters and its Truth
mean the same as in the first style.
"""

from __future__ import annotations

import numpy as np

from tuner.mannequin.brush import Canvas, Colour, cel, cel_tube, fill, oval, stroke, tone
from tuner.mannequin.figure import Figure
from tuner.mannequin.hands import HandLook, draw_hand
from tuner.mannequin.second_head import draw_hair_behind, draw_head
from tuner.mannequin.shades import CLOTH_SHADES, SKIN_SHADES
from tuner.mannequin.skeleton import PROPORTIONS, Skeleton, View

Limb = tuple[np.ndarray, np.ndarray, np.ndarray]


def paint_second(canvas: Canvas, figure: Figure, skeleton: Skeleton, view: View) -> None:
    """Draw the figure on its ground, in place; with fingers if `view.fingers` is set."""
    draw_hair_behind(canvas, figure, skeleton, view)
    for leg in skeleton.legs:
        _draw_leg(canvas, figure, leg, view)
    _draw_torso(canvas, figure, skeleton, view)
    for arm in skeleton.arms:
        _draw_arm(canvas, figure, arm, view)
    draw_head(canvas, figure, skeleton, view)


def _draw_leg(canvas: Canvas, figure: Figure, leg: Limb, view: View) -> None:
    hip, knee, ankle = leg
    wide = figure.build
    thigh, shin = 0.31 * wide, 0.21 * wide
    skin = SKIN_SHADES[figure.skin]
    outward = float(np.sign(ankle[0] - hip[0] + 1e-6))
    cel_tube(canvas, view(np.array(leg)), np.array([thigh, shin, 0.13]) * view.scale, skin)
    if not figure.clothed:
        _draw_foot(canvas, ankle, outward, view, skin)
        return
    _draw_foot(canvas, ankle, outward, view, ((74, 84, 104), (150, 104, 62))[figure.jitter % 2])
    if figure.top == "dress" or figure.bottom == "skirt":
        return
    cloth = CLOTH_SHADES[figure.bottom_colour]
    if figure.bottom == "trousers":  # wide and straight
        cuff = ankle + (ankle - knee) * 0.02
        radii = np.array([thigh * 1.12, 0.27 * wide, 0.24]) * view.scale
        cel_tube(canvas, view(np.array([hip, knee, cuff])), radii, cloth)
    else:  # loose, nearly to the knee
        edge = hip + (knee - hip) * 0.8
        radii = np.array([thigh * 1.14, thigh * 1.12]) * view.scale
        cel_tube(canvas, view(np.array([hip, edge])), radii, cloth)


def _draw_foot(
    canvas: Canvas, ankle: np.ndarray, outward: float, view: View, colour: Colour
) -> None:
    sole = np.array([ankle, ankle + [outward * 0.04, 0.18], ankle + [outward * 0.3, 0.2]])
    cel_tube(canvas, view(sole), np.array([0.14, 0.15, 0.1]) * view.scale, colour)


def _torso_side(figure: Figure, skeleton: Skeleton, side: int) -> dict[str, np.ndarray]:
    """Return the points of one flank by name; `side` 1 is the figure's left, -1 its right."""
    male, wide = figure.sex == "male", figure.build
    neck = skeleton.joints["neck"]
    shoulder = skeleton.joints["left_shoulder" if side > 0 else "right_shoulder"]
    waist, hip = (0.55, 0.55) if male else (0.43, 0.62)
    return {
        "collar": neck + [side * 0.2, -0.06],
        "tip": shoulder + [side * 0.1, -0.16],
        "armpit": shoulder + [side * 0.04, 0.32],
        "waist": np.array([side * waist * wide, -0.72]),
        "hip": np.array([side * hip * wide, 0.02]),
        "fork": np.array([side * hip * wide * 0.86, 0.36]),
    }


def _both(left: dict[str, np.ndarray], right: dict[str, np.ndarray], names: str) -> np.ndarray:
    """Return a closed shape (N, 2) down one flank and up the other."""
    order = names.split()
    return np.array([left[name] for name in order] + [right[name] for name in reversed(order)])


def _draw_torso(canvas: Canvas, figure: Figure, skeleton: Skeleton, view: View) -> None:
    skin, neck = SKIN_SHADES[figure.skin], skeleton.joints["neck"]
    left, right = (_torso_side(figure, skeleton, side) for side in (1, -1))
    names = "collar tip armpit waist" if figure.clothed else "collar tip armpit waist hip fork"
    cel(canvas, view(_both(left, right, names)), skin)
    throat = np.array([neck + [0, 0.1], neck + [0, -PROPORTIONS["second"].neck - 0.1]])
    cel_tube(canvas, view(throat), np.array([0.18, 0.18]) * view.scale, skin)
    if not figure.clothed:
        _draw_seams(canvas, figure, view)
        return
    if figure.top == "dress":
        _draw_dress(canvas, figure, (left, right), view)
        return
    pelvis = _both(left, right, "waist hip fork")
    if figure.bottom == "skirt":
        _draw_skirt(canvas, figure, pelvis, view)
    else:
        fill(canvas, view(pelvis), CLOTH_SHADES[figure.bottom_colour])
    _draw_top(canvas, figure, (left, right), view)


def _draw_seams(canvas: Canvas, figure: Figure, view: View) -> None:
    """Draw the seams of a shop-window mannequin and the screw of its stand."""
    dark = tone(SKIN_SHADES[figure.skin], 0.6)
    half = 0.43 * figure.build
    stroke(canvas, view(np.array([[-half, -0.7], [half, -0.7]])), 0.04 * view.scale, dark)
    stroke(canvas, view(np.array([[0, -1.4], [0, 0.2]])), 0.025 * view.scale, dark)
    oval(canvas, view(np.array([0.0, -0.4])), (0.05 * view.scale, 0.05 * view.scale), dark)


def _draw_skirt(canvas: Canvas, figure: Figure, pelvis: np.ndarray, view: View) -> None:
    """Draw a straight pleated skirt down to the knee."""
    colour, half = CLOTH_SHADES[figure.bottom_colour], float(pelvis[1][0])
    hem = np.array([[half * 1.25, 1.3], [-half * 1.25, 1.3]])
    shape = np.concatenate([pelvis[:2], hem, pelvis[-2:]])
    cel(canvas, view(shape), colour)
    for share in (-0.6, -0.2, 0.2, 0.6):
        pleat = np.array([[share * half, 0.1], [share * half * 1.25, 1.28]])
        stroke(canvas, view(pleat), 0.03 * view.scale, tone(colour, 0.7))


def _draw_dress(
    canvas: Canvas,
    figure: Figure,
    sides: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
    view: View,
) -> None:
    """Draw a bell from the waist to the shins, with a belt."""
    colour, (left, right) = CLOTH_SHADES[figure.top_colour], sides
    waist = np.array([left["waist"], right["waist"]])
    wave = [(0.92 - 0.368 * i, 1.55 + 0.07 * (-1) ** i) for i in range(6)]
    cel(canvas, view(np.array([waist[0], [0.7, 0.1], *wave, [-0.7, 0.1], waist[1]])), colour)
    cel(canvas, view(_both(left, right, "collar tip armpit waist")), colour)
    stroke(canvas, view(waist * [0.96, 1]), 0.13 * view.scale, tone(colour, 0.45))
    _draw_neckline(canvas, figure, left["collar"], right["collar"], 0.42, view)


def _draw_top(
    canvas: Canvas,
    figure: Figure,
    sides: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
    view: View,
) -> None:
    """Draw a shirt with collar, a sweater with roll neck or a tank top, worn over the bottom."""
    colour, (left, right) = CLOTH_SHADES[figure.top_colour], sides
    for flank, side in ((left, 1), (right, -1)):
        flank["hem"] = flank["hip"] + [side * 0.04, 0.12]
        flank["strap"] = flank["tip"] + [-side * 0.2, 0.05]
    tip = "strap" if figure.top == "tank top" else "tip"
    cel(canvas, view(_both(left, right, f"collar {tip} armpit waist hem")), colour)
    if figure.top == "sweater":
        hem = np.array([left["hem"], right["hem"]]) + [0, -0.07]
        stroke(canvas, view(hem * [0.97, 1]), 0.12 * view.scale, tone(colour, 0.55))
        roll = np.array([left["collar"], right["collar"]]) + [0, -0.06]
        cel_tube(canvas, view(roll), np.array([0.1, 0.1]) * view.scale, colour)
        return
    depth = 0.5 if figure.top == "tank top" else 0.3
    _draw_neckline(canvas, figure, left["collar"], right["collar"], depth, view)
    if figure.top == "shirt":
        _draw_lapels(canvas, colour, (left["collar"], right["collar"], left["hem"]), view)


def _draw_lapels(
    canvas: Canvas,
    colour: tuple[int, int, int],
    points: tuple[np.ndarray, np.ndarray, np.ndarray],
    view: View,
) -> None:
    left, right, hem = points
    tip = (left + right) / 2 + [0, 0.32]
    placket = np.array([tip, [0.0, float(hem[1])]])
    stroke(canvas, view(placket), 0.03 * view.scale, tone(colour, 0.55))
    for collar, side in ((left, 1), (right, -1)):
        lapel = np.array([collar, collar + [side * 0.14, 0.22], tip + [side * 0.06, 0]])
        cel(canvas, view(lapel), tone(colour, 1.12))


def _draw_neckline(
    canvas: Canvas, figure: Figure, left: np.ndarray, right: np.ndarray, depth: float, view: View
) -> None:
    middle = (left + right) / 2 + [0, depth]
    fill(canvas, view(np.array([left, middle, right])), SKIN_SHADES[figure.skin])


def _draw_arm(canvas: Canvas, figure: Figure, arm: Limb, view: View) -> None:
    shoulder, elbow, wrist = arm
    skin, wide, unit = SKIN_SHADES[figure.skin], figure.build, view.scale
    upper, lower = 0.18 * wide, 0.14 * wide
    cel_tube(canvas, view(np.array(arm)), np.array([upper, lower, 0.105]) * unit, skin)
    if view.fingers:
        draw_hand(canvas, elbow, wrist, view, HandLook(skin, 0.66, 0.5))
    else:
        along = (wrist - elbow) / np.linalg.norm(wrist - elbow)
        palm = np.array([wrist + along * 0.04, wrist + along * 0.34])
        cel_tube(canvas, view(palm), np.array([0.13, 0.1]) * unit, skin)
    if not figure.clothed or figure.top == "tank top":
        return
    cloth = CLOTH_SHADES[figure.top_colour]
    if figure.top == "dress":  # puffed at the shoulder
        puff = np.array([shoulder, shoulder + (elbow - shoulder) * 0.3])
        cel_tube(canvas, view(puff), np.array([upper * 1.35, upper * 1.4]) * unit, cloth)
        return
    share = 0.9 if figure.top == "sweater" else 0.25  # a shirt's sleeves are rolled up
    cuff = elbow + (wrist - elbow) * share
    radii = np.array([upper * 1.2, lower * 1.3, lower * 1.2]) * unit
    cel_tube(canvas, view(np.array([shoulder, elbow, cuff])), radii, cloth)
