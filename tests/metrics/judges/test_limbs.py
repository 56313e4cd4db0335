from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from metrics.contract import Image, Prompt, Sample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.figure.body import read_body
from metrics.figure.figure import Figure
from metrics.figure.posture import pose_evidence
from metrics.judges import limbs
from tuner.mannequin import draw
from tuner.mannequin.figure import random_figure

Evidences = Callable[[Image], Evidence]


@pytest.fixture
def values(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> Callable[..., np.ndarray]:
    def judge(count: int, seed: int, **fixed: Any) -> np.ndarray:
        images = rendered(count, seed, **fixed)
        scores = [limbs.score(sampled(image), evidence(image)) for image in images]
        return np.array([score.value for score in scores if score.value is not None])

    return judge


def area_under_curve(faulty: np.ndarray, sound: np.ndarray) -> float:
    below = (faulty[:, None] < sound[None]).mean()
    return float(below + 0.5 * (faulty[:, None] == sound[None]).mean())


def test_faulty_limbs_are_told_from_sound_ones(values: Callable[..., np.ndarray]) -> None:
    sound = values(16, seed=100)
    assert (sound < 0.5).mean() <= 0.05
    for fault in ("extra arm", "missing arm"):
        assert area_under_curve(values(8, seed=200, limbs=fault), sound) >= 0.9, fault


def test_the_box_of_an_arm_too_many_lies_where_it_was_drawn(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    fixed = {"framing": "full", "ground": "plain"}
    found, hits = 0, 0
    pairs = zip(
        rendered(8, 200, limbs="extra arm", **fixed),
        rendered(8, 200, limbs="normal", **fixed),
        strict=True,
    )
    for image, sound in pairs:
        score = limbs.score(sampled(image), evidence(image))
        if score.value is None or score.evidence["worst"] != "extra limb" or score.value >= 0.5:
            continue
        found += 1
        drawn = (np.abs(image.astype(int) - sound) > 20).any(axis=-1)
        left, top, right, bottom = np.array(score.evidence["part"]) * len(image)
        inside = drawn[int(top) : int(bottom) + 1, int(left) : int(right) + 1]
        hits += bool(inside.mean() > 0.2)
    assert found >= 4
    assert hits >= 0.8 * found


@pytest.mark.slow
def test_faulty_legs_are_found_where_the_frame_shows_them(
    values: Callable[..., np.ndarray],
) -> None:
    sound = values(15, seed=300, framing="full")
    for fault in ("extra leg", "missing leg"):
        faulty = values(15, seed=301, framing="full", limbs=fault)
        assert area_under_curve(faulty, sound) >= 0.9, fault


@pytest.mark.slow
def test_soft_pictures_of_sound_figures_are_rarely_flagged(
    values: Callable[..., np.ndarray],
) -> None:
    soft = values(20, seed=500, blur=0.006)
    assert len(soft) >= 18
    assert (soft < 0.5).mean() <= 0.05


def judged(figure: Figure) -> Any:
    body = read_body(figure)
    posed = pose_evidence(body)
    evidence: Any = SimpleNamespace(body=body, posture=posed, hands=(), people=(None,))
    return limbs.score(Sample(Prompt("1girl"), 0, figure.picture), evidence)


def doubtful(figure: Figure) -> Figure:
    """The figure whose left wrist the network hardly sees."""
    visibility = figure.visibility.copy()
    visibility[15] = 0.3
    return replace(figure, visibility=visibility)


def test_an_arm_that_the_network_doubts_but_that_shows_is_not_missing(
    evidence: Evidences, rendered: Callable[..., list[Image]]
) -> None:
    fixed = {"framing": "full", "arm_pose": "t-pose", "ground": "plain"}
    figures = [evidence(image).figure for image in rendered(6, 600, **fixed)]
    shown = [judged(doubtful(figure)) for figure in figures if figure is not None]
    assert len(shown) == 6
    assert all(score.value > 0.5 for score in shown)


def test_an_arm_drawn_where_nothing_is_is_missing(
    evidence: Evidences, rendered: Callable[..., list[Image]]
) -> None:
    fixed = {"framing": "full", "arm_pose": "arms at sides", "ground": "plain"}
    figures = [evidence(image).figure for image in rendered(6, 601, **fixed)]
    for figure in figures:
        assert figure is not None
        joints = figure.joints.copy()
        joints[[13, 15]] = joints[11] + np.array([[1.1, 0.0], [2.2, 0.0]]) * figure.unit
        body = read_body(doubtful(replace(figure, joints=joints)))
        measured, _ = limbs.limb_evidence(body, pose_evidence(body))
        assert measured["arm_bare"] > 0.7
        assert measured["arm_unseen"] == pytest.approx(0.7, abs=1e-6)


def test_a_pose_beside_the_figure_is_an_abstention(
    evidence: Evidences, rendered: Callable[..., list[Image]]
) -> None:
    (image,) = rendered(1, 602, framing="full", arm_pose="arms at sides", ground="plain")
    figure = evidence(image).figure
    assert figure is not None
    assert judged(figure).value is not None
    beside = judged(replace(figure, joints=figure.joints + np.float32(1.2 * figure.unit)))
    assert beside.value is None
    assert beside.reason == "the pose does not fit the figure"


def test_legs_outside_the_frame_are_not_missing(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    images = rendered(10, 400, framing="half", arm_pose="hands on hips")
    scores = [limbs.score(sampled(image), evidence(image)) for image in images]
    assert not any(score.evidence.get("worst") == "missing leg" for score in scores if score.value)
    assert sum(score.evidence.get("leg_bare", 0.0) > 0 for score in scores) <= 1


def test_an_arm_that_hangs_beside_the_body_is_long_though_it_reaches_nowhere(
    evidence: Evidences,
) -> None:
    rng = np.random.default_rng(785)
    drawn = [replace(random_figure(rng, style="second"), limbs="extra arm") for _ in range(74)][73]
    found = {}
    for wrong in ("normal", "extra arm"):
        body = evidence(draw(replace(drawn, limbs=wrong))).body
        assert body is not None
        part = max(limbs.unexplained_parts(body), key=lambda one: one.span)
        found[wrong] = (part.reach, part.span)
    assert found["extra arm"][0] < 0.3
    assert found["extra arm"][1] > found["normal"][1] + 0.5


def test_an_arm_that_hangs_together_with_the_ground_is_seen_by_its_colour(
    evidence: Evidences,
) -> None:
    figure = random_figure(np.random.default_rng(3), framing="full")
    body = evidence(draw(figure, 128)).body
    assert body is not None
    free = (1 - body.explained) & (1 - body.region)
    top, left = next((y, x) for y in range(20, 80) for x in range(80) if free[y, x : x + 40].all())
    patch = np.zeros_like(free)
    patch[top : top + 40, left : left + 40] = 1  # a piece of the ground, thick
    patch &= 1 - body.explained
    arm = np.zeros_like(free)
    arm[top + 4 : top + 10, left : left + 40] = 1  # across it, thin
    arm &= patch
    nothing = replace(body, unexplained=patch, alike=np.zeros_like(free))
    coloured = replace(body, unexplained=patch, alike=arm)
    assert limbs.unexplained_parts(nothing)[0].reach == 0.0
    assert limbs.unexplained_parts(coloured)[0].reach > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("style", ["first", "second"])
@pytest.mark.parametrize("size", [64, 256])
def test_no_half_body_figure_is_said_to_lack_a_leg(
    size: int,
    style: str,
    mannequin_detectors: Detectors,
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
) -> None:
    images = rendered(60, 410, size=size, framing="half", style=style)
    samples = [sampled(image) for image in images]
    found = [limbs.score(each, Evidence(each, mannequin_detectors)) for each in samples]
    alarms = [each for each in found if each.value is not None and each.value < 0.5]
    assert sum(each.value is not None for each in found) >= 56
    assert not any(each.evidence["worst"] in limbs.LEG_FAULTS for each in alarms)


def test_no_pose_is_an_abstention(evidence: Evidences, sampled: Callable[..., Sample]) -> None:
    image = np.full((64, 64, 3), 120, np.uint8)
    score = limbs.score(sampled(image), evidence(image))
    assert score.value is None
    assert score.reason == "no pose read"


def test_the_same_picture_gets_the_same_score(
    evidence: Evidences, rendered: Callable[..., list[Image]], sampled: Callable[..., Sample]
) -> None:
    (image,) = rendered(1, 5, limbs="extra arm", ground="cluttered")
    first, second = (limbs.score(sampled(image), evidence(image)) for _ in range(2))
    assert first == second
