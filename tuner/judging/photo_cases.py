"""Test cases from the user's pictures: each as a sound one, and with faults painted in.

Faults are painted only where the pose shows the needed body parts. Painted pictures are not saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Image, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.figure.figure import (
    ARMS,
    LEFT_EYE,
    LEFT_HIP,
    LEFT_SHOULDER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    NOSE,
    RIGHT_EYE,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    WORKING_SIDE,
    Figure,
    Floats,
    Mask,
    fill_hull,
    patch_colour,
)
from metrics.judges.red_eyes import IRIS, eye_distance, too_small
from metrics.preprocess import analysis_picture, lab, resized_mask
from tuner.data.picture_file import read_pixels
from tuner.judging.cases import ALL_JUDGES, SOUND, Case, ladders, with_fault, wrong_sex
from tuner.judging.score_folder import FoundPictures

TORSO = (0.25, 0.5, 0.75, 1.0)
"""Strengths of the torso fault: the share of skin colour mixed into the clothes."""

_LONGEST = 768  # longer side in pixels of a painted picture: inpainting is slow on larger ones
_VISIBLE = 0.6
_TORSO = (LEFT_SHOULDER, RIGHT_SHOULDER, RIGHT_HIP, LEFT_HIP)
_ARM_WIDTH, _HAND = 0.5, 0.55  # in units: width of a sleeve, wrist to fingertips
_WIDER, _HAND_ERASED = 0.65, 0.9  # erase a little more: inpainting would spread a remaining edge
_ANGLES = (60, -60, 90, -90, 120, -120)
_RED = (30.0, 55.0, 35.0)  # L*a*b* of a red iris; a brighter iris keeps its lightness
# Mean and deviation of a torso's L*a*b* about the face's, which is redder: a guess.
_PALER, _SKIN_VARIES = (0.0, -2.0, 0.0), (4.0, 2.0, 2.0)
_NECK = 0.3  # half the width of the neck, in units
_MAX_HIDDEN = 0.45  # share of a pasted arm that may lie on the figure, where its shoulder is


@dataclass(frozen=True)
class _Body:
    """The main figure in the pixels of its picture; `unit` is about one head."""

    image: Image
    figure: Figure
    joints: Floats
    mask: Mask
    unit: float

    def shows(self, *joints: int) -> bool:
        """Return True if all these joints lie in the frame and are visible."""
        visible = (self.figure.visibility[joint] >= _VISIBLE for joint in joints)
        return all(self.figure.in_frame(joint, 0.02) for joint in joints) and all(visible)


def photo_cases(pictures: FoundPictures, judges: Detectors) -> Iterator[Case]:
    """Yield each picture as sound, then with its faults; a file removed meanwhile is skipped.

    All get blur and colour blocks. A torso in skin colour, an erased forearm, a pasted arm and red
    irises are painted where the landmarks allow it; the prompt gets the other sex if it names one.
    """
    for source, (path, prompt) in enumerate(pictures.prompted):
        try:
            image = np.asarray(read_pixels(path), np.uint8)
        except OSError:
            continue
        if max(image.shape[:2]) > _LONGEST:
            image = analysis_picture(image, _LONGEST)
        named = replace(prompt, text=prompt.text or "a person")
        sample = Sample(named, source, image, path)
        sound = Case(pictures.root.name or "pictures", source, SOUND, ALL_JUDGES, sample)
        yield sound
        yield from ladders(sound)
        yield from wrong_sex(sound)
        body = _read_body(sample, judges)
        if body is not None:
            yield from _torso_ladder(sound, body)
            yield from _arm_faults(sound, body)
            yield from _red_eyes(sound, body)


def _read_body(sample: Sample, judges: Detectors) -> _Body | None:
    evidence = Evidence(sample, judges)
    figure, person = evidence.figure, evidence.person
    if figure is None or person is None:
        return None
    height, width = sample.image.shape[:2]
    joints = person.joints * np.array([width, height], np.float32)
    mask: Mask = (resized_mask(person.mask, height, width) > 0.5).astype(np.uint8)
    scale = max(height, width) / WORKING_SIDE
    return _Body(sample.image, figure, joints, mask, figure.unit * scale)


def _torso_ladder(sound: Case, body: _Body) -> Iterator[Case]:
    """Yield the torso's clothes in ever more of the skin's colour, with their folds kept.

    The skin is that of the face, a little paler and different, as on real bodies.
    """
    if not body.shows(NOSE, *_TORSO):
        return
    figure = body.figure
    skin = patch_colour(lab(figure.picture), figure.mask, figure.joints[NOSE], 0.18 * figure.unit)
    torso = _torso(body) & body.mask
    if skin is None or not torso.any():
        return
    edge = cv2.GaussianBlur(torso.astype(np.float32), (0, 0), 0.03 * body.unit)[..., None]
    colours = lab(body.image)
    folds = colours[..., :1] - np.median(colours[torso > 0][:, 0])
    skin = skin + np.random.default_rng(sound.source).normal(_PALER, _SKIN_VARIES).astype(
        np.float32
    )
    bare = np.concatenate([skin[0] + 0.4 * folds, np.broadcast_to(skin[1:], (*torso.shape, 2))], -1)
    for share in TORSO:
        painted = colours + share * edge * (bare - colours)
        rgb = cv2.cvtColor(painted.astype(np.float32), cv2.COLOR_LAB2RGB)
        image = np.clip(np.round(rgb * 255), 0, 255).astype(np.uint8)
        yield with_fault(sound, "torso in skin", "cloth_share", image, share)


def _torso(body: _Body) -> Mask:
    """Return the area from shoulders to hips, with the neck: a bare torso has no collar."""
    region: Mask = np.zeros(body.mask.shape, np.uint8)
    fill_hull(region, [body.joints[joint] for joint in _TORSO])
    width = max(1, round(0.25 * body.unit))
    outline = np.round(body.joints[list(_TORSO)]).astype(np.int32)
    cv2.polylines(region, [outline], True, (1,), width)
    shoulders = body.joints[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    region[: max(0, int(shoulders[1] - 0.1 * body.unit))] = 0
    mouth = body.joints[[MOUTH_LEFT, MOUTH_RIGHT]].mean(axis=0)
    throat = mouth + 0.6 * (shoulders - mouth)
    aside = np.array([_NECK * body.unit, 0.0], np.float32)
    fill_hull(region, [at + side for at in (throat, shoulders) for side in (aside, -aside)])
    return region


def _arm_faults(sound: Case, body: _Body) -> Iterator[Case]:
    """Yield one erased forearm and one pasted arm, for the first arm beside the torso."""
    torso = _torso(body)
    height, width = torso.shape
    for shoulder, elbow, wrist in ARMS:
        if not body.shows(shoulder, elbow, wrist):
            continue
        x, y = (int(value) for value in body.joints[wrist])
        if 0 <= x < width and 0 <= y < height and not torso[y, x]:
            forearm = _capsule(body, (elbow, wrist), _WIDER, _HAND_ERASED)
            erased = np.asarray(cv2.inpaint(body.image, forearm, 5, cv2.INPAINT_TELEA), np.uint8)
            yield with_fault(sound, "forearm erased", "limbs", erased)
            pasted = _pasted(body, (shoulder, elbow, wrist))
            if pasted is not None:
                yield with_fault(sound, "arm pasted", "limbs", pasted)
            return


def _red_eyes(sound: Case, body: _Body) -> Iterator[Case]:
    """Yield both irises painted red at their own lightness, if the face is large enough."""
    distance = eye_distance(body.figure, body.image)
    if too_small(body.image, distance) or not body.shows(LEFT_EYE, RIGHT_EYE):
        return
    iris = np.zeros(body.mask.shape, np.float32)
    for eye in (LEFT_EYE, RIGHT_EYE):
        x, y = (round(float(value)) for value in body.joints[eye])
        cv2.circle(iris, (x, y), max(1, round(IRIS * distance / 2)), (1.0,), -1)
    colours = lab(body.image)
    red = np.stack(
        [np.maximum(colours[..., 0], _RED[0]), *(np.full_like(iris, c) for c in _RED[1:])]
    )
    painted = np.where(iris[..., None] > 0, red.transpose(1, 2, 0), colours)
    rgb = cv2.cvtColor(painted.astype(np.float32), cv2.COLOR_LAB2RGB)
    image = np.where(iris[..., None] > 0, np.clip(np.round(rgb * 255), 0, 255), body.image)
    yield with_fault(sound, "red eyes", "no_red_eyes", image.astype(np.uint8))


def _capsule(body: _Body, joints: tuple[int, ...], width: float, hand: float) -> Mask:
    """Return the mask of (part of) an arm, `width` wide and `hand` beyond the wrist, in units."""
    points = [body.joints[joint] for joint in joints]
    onward = points[-1] - points[-2]
    onward = onward / max(1e-6, float(np.linalg.norm(onward)))
    line = np.round(np.array([*points, points[-1] + hand * body.unit * onward])).astype(np.int32)
    region: Mask = np.zeros(body.mask.shape, np.uint8)
    cv2.polylines(region, [line], False, (1,), max(1, round(width * body.unit)))
    return region


def _pasted(body: _Body, arm: tuple[int, int, int]) -> Image | None:
    """Return the picture with a copy of the arm, turned about its shoulder to be most visible.

    None if, at every angle, the copy leaves the frame or lies on the figure.
    """
    cut = _capsule(body, arm, _ARM_WIDTH, _HAND) & body.mask
    height, width = cut.shape
    centre = (float(body.joints[arm[0]][0]), float(body.joints[arm[0]][1]))
    best: tuple[float, npt.NDArray[np.float64]] | None = None
    for angle in _ANGLES:
        turn = np.asarray(cv2.getRotationMatrix2D(centre, angle, 1.0), np.float64)
        turned = cv2.warpAffine(cut, turn, (width, height), flags=cv2.INTER_NEAREST)
        left, whole = float(turned.sum()), float(cut.sum())
        hidden = float((turned & body.mask).sum()) / max(1.0, left)
        if left >= 0.9 * whole > 0 and hidden <= _MAX_HIDDEN and (not best or hidden < best[0]):
            best = hidden, turn
    if best is None:
        return None
    soft = cv2.GaussianBlur(cut.astype(np.float32), (0, 0), 1.0)
    alpha = cv2.warpAffine(soft, best[1], (width, height))[..., None]
    copy = cv2.warpAffine(body.image, best[1], (width, height))
    return np.asarray(np.round(body.image * (1 - alpha) + copy * alpha), np.uint8)
