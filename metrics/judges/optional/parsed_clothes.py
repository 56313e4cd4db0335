"""Is the torso clothed, as a human parser sees it?

The judge is used only where the settings name a parser, and was not measured. A parser knows its
own classes only: one trained on ATR has none for a bare torso, and may call it a garment or an arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from metrics.contract import Sample, Score
from metrics.evidence import Evidence, Judge
from metrics.figure.figure import (
    LEFT_HIP,
    LEFT_SHOULDER,
    RIGHT_HIP,
    RIGHT_SHOULDER,
    Floats,
    Mask,
    fill_hull,
)

if TYPE_CHECKING:
    from metrics.detectors.human_parser import ParsedPicture
    from metrics.preprocess import Box

NAME = "parsed_clothes"

_MIN_PIXELS = 50
"""Least pixels of the torso in the frame, a square of 7, in a picture of 256 and more."""
_MIN_KNOWN = 0.3
"""Least share of the torso that is clothes or skin: below it hair or a bag hides the torso, or the
parser takes the figure for ground."""
_MIN_LIMB = 0.005
"""Least share of the figure's box for a piece of a limb: smaller ones are specks."""
_ALONG, _ACROSS = (0.1, 0.9), 0.8
"""The part of the torso that is looked at, clear of the neck and of arms that hang beside it."""


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return the share of clothes in what the torso shows of clothes and bare skin, 0 to 1.

    The evidence also counts separate arms and legs: pieces of bare skin, so that a sleeve hides an
    arm and a bracelet divides it. Abstains where no parser is set, where no pose is read and where
    too little of the torso can be seen or parsed.
    """
    if evidence.settings.parser_model is None:
        return Score(NAME, None, "no parser model set")
    person, parsed = evidence.person, evidence.parsed
    if person is None or parsed is None:
        return Score(NAME, None, "no pose read")
    limbs = {f"{group}s": separate_parts(parsed, group, person.box) for group in ("arm", "leg")}
    clothes, skin, pixels = torso_shares(parsed, person.joints)
    if pixels < _MIN_PIXELS:
        return Score(NAME, None, "no torso in the frame", limbs)
    measured: Mapping[str, float] = {"clothes": clothes, "skin": skin, **limbs}
    if clothes + skin < _MIN_KNOWN:
        return Score(NAME, None, "the parser sees neither clothes nor skin there", measured)
    return Score(NAME, clothes / (clothes + skin), None, measured)


def torso_shares(parsed: ParsedPicture, joints: Floats) -> tuple[float, float, int]:
    """Return the shares of the torso that are clothes and bare skin, and its pixels in the frame.

    `joints` (33, 2) are MediaPipe's, as shares of the picture's sides.
    """
    height, width = parsed.labels.shape
    places = joints * np.array([width, height], np.float32)
    middle = places[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    down = places[[LEFT_HIP, RIGHT_HIP]].mean(axis=0) - middle
    corners = []
    for shoulder, hip in ((LEFT_SHOULDER, LEFT_HIP), (RIGHT_SHOULDER, RIGHT_HIP)):
        for along in _ALONG:
            centre = middle + along * down
            side = places[shoulder] + along * (places[hip] - places[shoulder])
            corners.append(centre + _ACROSS * (side - centre))
    torso: Mask = np.zeros((height, width), np.uint8)
    fill_hull(torso, corners)
    inside = torso > 0
    pixels = int(inside.sum())
    if not pixels:
        return 0.0, 0.0, 0
    clothes = float(parsed.mask("clothes")[inside].mean())
    return clothes, float(parsed.mask("arm", "leg", "skin")[inside].mean()), pixels


def separate_parts(parsed: ParsedPicture, group: str, box: Box) -> int:
    """Return the number of separate pieces of a group's classes in a box, specks left out."""
    height, width = parsed.labels.shape
    left, top, right, bottom = (
        round(edge * side) for edge, side in zip(box, (width, height) * 2, strict=True)
    )
    count = 0
    for number in parsed.groups[group]:  # class by class: crossed legs are two
        own = (parsed.labels[top:bottom, left:right] == number).astype(np.uint8)
        if own.any():
            _, _, about, _ = cv2.connectedComponentsWithStats(own)
            sizes = about[1:, cv2.CC_STAT_AREA]
            count += int((sizes >= _MIN_LIMB * own.size).sum())
    return count


JUDGE = Judge(NAME, score, models=("parser_model",))
