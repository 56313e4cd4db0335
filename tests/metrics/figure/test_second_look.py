from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

from metrics import open_detectors
from metrics.contract import Image, JudgeSettings, Prompt, Sample
from metrics.detectors import Detectors
from metrics.detectors.mediapipe import Person
from metrics.evidence import Evidence
from metrics.figure.figure import read_figure
from metrics.figure.limb_consistency import limb_consistency, limbs_shown, mirror_moves
from metrics.figure.looks import mirrored, plain, smaller
from metrics.figure.repainted_limbs import (
    SOUND_LIMBS,
    lower_limbs,
    painted_over,
    repainted_limbs,
)
from metrics.figure.second_look import SecondLook, same_figure

LEFT_WRIST, RIGHT_WRIST = 15, 16


def person(x: float = 0.5, size: float = 0.5) -> Person:
    """A standing figure: shoulders, arms that hang down, hips and legs, in shares of a square."""
    joints = np.full((33, 2), (x, 0.5 - 0.4 * size), np.float32)
    for side, first in ((1, 11), (-1, 12)):
        places = {0: (0.1, -0.25), 2: (0.12, -0.05), 4: (0.13, 0.12), 12: (0.07, 0.1)}
        places |= {14: (0.07, 0.3), 16: (0.07, 0.48)}
        for offset, (across, down) in places.items():
            joints[first + offset] = (x + side * across * size, 0.5 + down * size)
    return Person(joints, np.full(33, 0.9, np.float32), np.ones((8, 8), np.float32))


@pytest.fixture(scope="module")
def photographic() -> Iterator[Detectors]:
    with open_detectors(JudgeSettings(gender_model=None)) as opened:
        yield opened


@pytest.fixture(scope="module")
def photograph() -> Image:
    """A photograph of a woman in a space suit, which comes with scikit-image."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    with Pictures.open(Path(spec.origin).parent / "data/astronaut.png") as picture:
        return np.asarray(picture.convert("RGB").resize((384, 384)), np.uint8)


@pytest.mark.parametrize("look", [plain, smaller, mirrored])
def test_every_look_returns_the_figure_where_it_lies(
    look: object, photographic: Detectors, photograph: Image
) -> None:
    (first,) = plain(photographic.pose, photograph)
    (again,) = look(photographic.pose, photograph)  # type: ignore[operator]
    np.testing.assert_allclose(again.joints[0], first.joints[0], atol=0.02)  # the nose
    np.testing.assert_allclose(again.joints[11:13], first.joints[11:13], atol=0.12)
    agreement = (again.mask[::8, ::8] > 0.5).mean() - (first.mask[::8, ::8] > 0.5).mean()
    assert abs(agreement) < 0.05


def test_a_painted_limb_is_gone_and_nothing_else_is_changed() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (200, 200, 3)).astype(np.uint8)
    figure = person()
    arm = (figure.joints[13], figure.joints[LEFT_WRIST])
    for along in np.linspace(0.3, 1.0, 50):
        x, y = (200 * (arm[0] + (arm[1] - arm[0]) * along)).astype(int)
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    painted = painted_over(image, figure, [(13, LEFT_WRIST)])
    assert image.max() == 255
    assert painted.max() < 130
    changed = np.abs(painted.astype(int) - image).max(axis=-1) > 0
    assert changed[:, :100].sum() == 0  # the right half of the figure
    assert 0.01 < changed.mean() < 0.15


def test_the_nearest_figure_is_the_same_one() -> None:
    people = (person(0.2), person(0.7))
    assert same_figure(people, person(0.65)) is people[1]
    assert same_figure((), person()) is None


def look_at(first: Person, again: Person | None) -> SecondLook:
    return SecondLook(first, (100, 100), again)


def test_joints_that_move_in_the_mirror_image_are_measured_in_torso_lengths() -> None:
    first = person(size=0.8)
    moved = first.joints.copy()
    moved[LEFT_WRIST] += (0.0, 0.14)
    moves = mirror_moves(look_at(first, replace(first, joints=moved)))
    torso = look_at(first, None).torso / 100
    assert moves[LEFT_WRIST] == pytest.approx(0.14 / torso, rel=1e-3)
    assert moves[RIGHT_WRIST] == 0.0
    assert mirror_moves(look_at(first, None)).min() == 1.0


def test_forearms_are_painted_over_one_by_one_and_shins_together() -> None:
    figure = read_figure(np.zeros((100, 100, 3), np.uint8), person(size=0.5))
    assert lower_limbs(figure, arms=True, legs=False) == [[(13, 15)], [(14, 16)]]
    assert lower_limbs(figure, arms=False, legs=True) == [[(25, 27), (26, 28)]]
    assert len(lower_limbs(figure, arms=True, legs=True)) == 3


def test_a_wrist_that_moves_where_its_forearm_was_painted_over_is_measured() -> None:
    first = person(size=0.8)
    look = look_at(first, first)
    joints = first.joints.copy()
    joints[LEFT_WRIST] += (0.0, -0.14)
    elsewhere = replace(first, joints=joints)
    moved = repainted_limbs(look, {LEFT_WRIST: elsewhere, RIGHT_WRIST: first})
    assert moved["arm_replaced"] == pytest.approx(0.9 * 0.14 / (look.torso / 100), rel=1e-3)
    assert moved["arm_stays"] == pytest.approx(np.log(9), rel=1e-3)  # its visibility is 0.9
    joints[LEFT_WRIST] = first.joints[RIGHT_WRIST]  # it follows the other arm
    assert repainted_limbs(look, {LEFT_WRIST: elsewhere})["arm_replaced"] == 0.0
    nothing = repainted_limbs(look, {LEFT_WRIST: None})
    assert nothing["arm_replaced"] == 0.0
    assert nothing["arm_stays"] < -5.0
    assert repainted_limbs(look, {}) == SOUND_LIMBS


def test_a_sound_photograph_agrees_with_itself(photographic: Detectors, photograph: Image) -> None:
    evidence = Evidence(Sample(Prompt("a person"), 0, photograph), photographic)
    figure, look = evidence.figure, evidence.second_look
    assert figure is not None
    assert look is not None
    assert limbs_shown(figure)
    measured = limb_consistency(figure, look)
    repainted = evidence.repainted(arms=True, legs=True)
    assert set(repainted) == {LEFT_WRIST, RIGHT_WRIST}
    measured |= repainted_limbs(look, repainted)
    assert measured["arm_seen"] < 0.0  # one hand lies behind the helmet
    assert measured["fuzzy"] < 0.2
    assert measured["mirror_mask"] < np.log(0.15)
    assert measured["mirror_worst"] < np.log(0.5)
    assert measured["leg_replaced"] == 0.0  # the frame shows no leg
