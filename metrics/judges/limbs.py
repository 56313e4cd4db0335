"""Does the figure have two arms and two legs, as far as the frame shows them?

A pose network always draws one valid human. A surplus limb is therefore looked for outside its
skeleton: a part of the figure that no bone explains. A missing limb shows in the network's own
doubt, the more so where the bone that it still draws lies on no limb. Joints outside the frame or
at its edge never count as faults. Arms hidden behind the back look missing.

One logistic regression combines the measurements, fitted on renders of the mannequin and on their
reconstructions by its autoencoder (metrics/calibration/limbs.json).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from metrics.contract import Sample, Score
from metrics.evidence import Evidence, Judge
from metrics.figure.body import Body, without_thin_parts
from metrics.figure.figure import (
    ARMS,
    LEGS,
    Figure,
    Floats,
    Mask,
    arm_region,
    bone_support,
    fill_hull,
)
from metrics.figure.own_limbs import BORDER, lacking_limbs
from metrics.judges.photo_limbs import photo_limbs
from metrics.judges.pose import readable
from metrics.logistic import read_logistic
from metrics.preprocess import Box, share_box

NAME = "limbs"
SOUND = "sound"
ARM_FAULTS = ("extra limb", "missing arm")
LEG_FAULTS = ("extra leg", "missing leg")
"""Possible only where the frame shows legs."""

_READABLE = 0.5
"""Probability of a readable pose below which limbs are not counted: it is a failure of its own."""
MAX_UNEXPLAINED = 0.5
"""Share of the figure without a bone above which the skeleton lies on something else."""
MIN_AGREEMENT = 0.6
"""Least IoU of the landmarker's mask and the region by colours and edges; of 1,454 rendered figures
one lies below. Where the two disagree more, the ground passes for limbs."""
HAND_REACH = 0.1
"""Reach of an unexplained part above which a third hand is looked for: the part may be one."""
HAND_PIXELS = 14.0
"""Length of a hand, in pixels of the sample, below which the hand landmarker finds none."""
TOO_MANY_HANDS = 0.9
_HAND = 0.7  # length of a hand in units
_LEG_AREA = 0.4
_LONGEST = 1.2
_LONGEST_SPAN = 3.0
_THICK = 0.75
_THIN = 0.3
_BESIDE_LEGS = 0.5  # skirts, trousers and a slightly misplaced skeleton leave rims there
_FAINT = 0.01


@dataclass(frozen=True)
class Limb:
    """A pair of limbs, by its joints in the frame.

    `visibility`, 0 to 1, of the least visible joint; `support`, the share of the bone above it that
    lies on something like a limb; `least`, the least support of any bone; `coloured`, the least
    share of any bone on a colour of the figure's limbs.
    """

    visibility: float
    support: float
    least: float
    coloured: float


@dataclass(frozen=True)
class Part:
    """A part of the body that no bone explains.

    `reach`: how far it sticks out like a limb, in units, 0 to 1.2. `span`: its length beside the
    body, as of an arm that hangs down, 0 to 3. `box`: left, top, right, bottom as shares of the
    picture's sides.
    """

    reach: float
    span: float = 0.0
    box: Box = (0.0, 0.0, 0.0, 0.0)


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return the probability that no limb is surplus and none is missing.

    Abstains where no pose is read or probably none can be, where the pose misses half of the
    figure, where the figure does not stand out from its ground, and where the frame shows neither
    an elbow, a wrist nor a knee: then nothing is known of its limbs.
    """
    body, posture = evidence.body, evidence.posture
    if body is None or posture is None:
        return Score(NAME, None, "no pose read")
    shown = ARMS + LEGS if body.shows_legs else ARMS
    if not any(body.figure.in_frame(joint, BORDER) for limb in shown for joint in limb[1:3]):
        return Score(NAME, None, "no limb in the frame")
    certain = readable(posture)
    if certain < _READABLE or body.unexplained_share > MAX_UNEXPLAINED:
        return Score(NAME, None, "the pose does not fit the figure", {"readable": certain})
    if posture["agreement"] < MIN_AGREEMENT:
        agreement = {"agreement": posture["agreement"]}
        return Score(NAME, None, "the figure does not stand out from its ground", agreement)
    measured, parts = limb_evidence(body, posture)
    classes = (SOUND, *ARM_FAULTS, *(LEG_FAULTS if body.shows_legs else ()))
    likely = read_logistic(NAME)(measured, classes)
    hands = _hands(sample, evidence, body.figure, parts[0])
    value = likely.pop(SOUND)
    worst = max(likely, key=lambda name: likely[name])
    if hands is not None and hands > 2 and len(evidence.people) == 1 and value > 1 - TOO_MANY_HANDS:
        value, worst = 1 - TOO_MANY_HANDS, "extra hand"
    where = {"part": list(parts[0].box)} if parts[0].reach else {}
    counted = {"hands": hands} if hands is not None else {}
    return Score(NAME, value, None, {"worst": worst, **measured, **counted, **where})


def _hands(sample: Sample, evidence: Evidence, figure: Figure, part: Part) -> int | None:
    """Count the hands; None where a third hand cannot show, and none is looked for."""
    scale = max(sample.image.shape[:2]) / max(figure.soft_mask.shape)
    if part.reach < HAND_REACH or _HAND * figure.unit * scale < HAND_PIXELS:
        return None
    return len(evidence.hands)


def limb_evidence(body: Body, posture: Mapping[str, float]) -> tuple[dict[str, float], list[Part]]:
    """Return the measurements of surplus and missing limbs, and the parts that no bone explains.

    `posture` is the result of `posture.pose_evidence` for the same body. Limbs that the
    frame does not show get the values of a sound figure.
    """
    figure = body.figure
    arm = weakest_limb(body, ARMS, arm_region(figure, body.joined))
    leg = weakest_limb(body, LEGS, body.joined) if body.shows_legs else None
    parts = unexplained_parts(body)
    reach = parts[0].reach
    measured = {"reach": reach, "far": max(0.0, reach - 0.35)}
    measured["span"] = max(part.span for part in parts)
    measured["shin_gap"] = shin_gap_share(body)
    measured |= {name: posture[name] for name in ("fuzzy", "agreement", "uneven", "joints_seen")}
    for name, limb in (("arm", arm), ("leg", leg)):
        measured |= _limb_numbers(name, limb or Limb(1.0, 1.0, 1.0, 1.0))
    measured |= lacking_limbs(body)
    for name in ("arm", "leg"):
        measured[f"{name}_doubt"] = measured[f"{name}_unseen"] * measured[f"{name}_lacking"]
    measured["misplaced_arm"] = reach * measured["arm_unseen"]
    return measured, parts


def _limb_numbers(name: str, limb: Limb) -> dict[str, float]:
    unseen = 1.0 - min(1.0 - _FAINT, max(_FAINT, limb.visibility))
    return {
        f"{name}_unseen": unseen,
        f"{name}_bare": 1.0 - limb.support,
        f"{name}_barest": 1.0 - limb.least,
        f"{name}_strange": 1.0 - limb.coloured,
    }


def unexplained_parts(body: Body) -> list[Part]:
    """Return the parts of the body that no bone explains, most limb-like first, at least one.

    The last has reach 0. A part counts by its reach, and for less where it is thicker than a limb,
    where it lacks the colours of the figure's own limbs, and where it lies beside the legs, not
    between them. Thin rims along an edge have no reach.
    """
    figure = body.figure
    away = cv2.distanceTransform(1 - body.explained, cv2.DIST_L2, 5) / figure.unit
    parts = [_part(body, away, mask) for mask in _masks(body)]
    return sorted([*parts, Part(0.0)], key=lambda part: -part.reach)


def _masks(body: Body) -> Iterator[Mask]:
    """Yield each part that no bone explains, then its pieces in the colours of the figure's limbs.

    A surplus arm is often connected with hair or a piece of the ground, as one thick part.
    """
    for region in (body.unexplained, without_thin_parts(body.unexplained & body.alike)):
        count, labels = cv2.connectedComponents(region)
        yield from ((labels == label).astype(np.uint8) for label in range(1, count))


def _part(body: Body, away: Floats, mask: Mask) -> Part:
    """Measure a part; `away` is the distance of each pixel from all bones, in units."""
    figure, inside = body.figure, mask > 0
    left, top, width, height = cv2.boundingRect(mask)
    window = np.s_[max(0, top - 1) : top + height + 1, max(0, left - 1) : left + width + 1]
    depth = cv2.distanceTransform(np.ascontiguousarray(mask[window]), cv2.DIST_L2, 5)
    thickness = 2.0 * float(depth.max()) / figure.unit
    limb_like = max(0.0, 1.0 - max(0.0, thickness - _THICK) * 2.0)
    rows, columns = np.nonzero(inside)
    if _beside_legs(figure, np.array([columns.mean(), rows.mean()])):
        limb_like *= _BESIDE_LEGS
    limb_like *= float(body.alike[inside].mean())
    distances = away[inside]
    reach = min(_LONGEST, float(distances.max() - distances.min()))
    span = min(_LONGEST_SPAN, float(np.hypot(width, height)) / figure.unit)
    span *= min(1.0, thickness / _THIN)
    box = share_box((left, top, width, height), mask.shape)
    return Part(reach * limb_like, span * limb_like, box)


def weakest_limb(body: Body, limbs: tuple[tuple[int, ...], ...], region: Mask) -> Limb | None:
    """Return the evidence for the pair's least visible second or third joint, away from the edge.

    `region` is where the limbs would show; None where no such joint lies in the frame.
    """
    figure, coloured = body.figure, region & body.alike
    bones = []
    for first, second, third, *_ in limbs:
        for bone, span in (((first, second), (0.3, 1.0)), ((second, third), (0.0, 0.9))):
            if figure.in_frame(bone[1], BORDER):
                shares = [bone_support(figure, where, bone, span) for where in (region, coloured)]
                on, alike = (1.0 if share is None else share for share in shares)
                bones.append((float(figure.visibility[bone[1]]), on, alike))
    if not bones:
        return None
    visibility, support, _ = min(bones)
    _, supports, coloured_supports = zip(*bones, strict=True)
    return Limb(visibility, support, min(supports), min(coloured_supports))


def shin_gap_share(body: Body) -> float:
    """Return the share of the gap between the shins that looks like a limb: a third leg.

    Less the more the ground beside the legs has a limb's colour too: then it is a floor. 0 where an
    ankle lies outside the frame or the shins leave no real gap.
    """
    figure, explained = body.figure, body.explained
    joints = figure.joints
    if not all(figure.in_frame(ankle) for _, _, ankle, _ in LEGS):
        return 0.0
    between: Mask = np.zeros(explained.shape, np.uint8)
    upper = [joints[k] + (joints[a] - joints[k]) * 0.35 for _, k, a, _ in LEGS]
    fill_hull(between, [*upper, *(joints[a] for _, _, a, _ in LEGS)])
    rows = between.any(axis=1)
    beside = ((1 - explained) & (1 - body.region) & (1 - between))[rows] > 0
    floor = float(body.alike[rows][beside].mean()) if beside.any() else 0.0
    gap = between & (1 - explained)
    share = float((gap & body.region & body.alike).sum())
    return (1.0 - floor) * share / max(_LEG_AREA * figure.unit**2, float(gap.sum()))


def _beside_legs(figure: Figure, point: npt.NDArray[np.float64]) -> bool:
    """Return True if a point lies lower than the hips and not between the legs."""
    joints = figure.joints
    hips = joints[[hip for hip, *_ in LEGS]].mean(axis=0)
    across = joints[[joint for _, knee, ankle, _ in LEGS for joint in (knee, ankle)], 0]
    low = point[1] > hips[1] + 0.3 * figure.unit
    return bool(low and not across.min() < point[0] < across.max())


JUDGE = Judge(NAME, score, photo_limbs)
