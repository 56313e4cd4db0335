"""The judges' answers for photographs, on scikit-image's astronaut with faults painted in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from skimage import data

from metrics import open_detectors
from metrics.contract import Image, JudgeSettings, Prompt, Sample, Score
from metrics.detectors import Detectors
from metrics.detectors.mediapipe import Person
from metrics.evidence import Evidence, Judge
from metrics.figure.figure import LEFT_EYE, LEFT_SHOULDER, NOSE, RIGHT_SHOULDER
from metrics.judges import (
    artefacts,
    clothing,
    framing,
    limbs,
    people,
    photo_limbs,
    red_eyes,
    sharpness,
)
from metrics.judges.artefacts import noise_level, quiet_noise_level
from metrics.judges.grid import grid_level

SIDE = 512
ASTRONAUT: Image = np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="module")
def detectors() -> Iterator[Detectors]:
    settings = JudgeSettings(gender_model=None, domain="photographic")
    with open_detectors(settings) as opened:
        yield opened


@pytest.fixture
def judged(detectors: Detectors) -> Callable[..., Score]:
    def answer(judge: Judge, image: Image) -> Score:
        sample = Sample(Prompt("1girl", "female", "half"), 0, image)
        return judge.score(sample, Evidence(sample, detectors))

    return answer


@pytest.fixture(scope="module")
def joints(detectors: Detectors) -> np.ndarray:
    """The astronaut's joints in pixels."""
    person = Evidence(Sample(Prompt("1girl"), 0, ASTRONAUT), detectors).person
    assert person is not None
    return person.joints * SIDE


def in_skin(joints: np.ndarray) -> Image:
    """The astronaut with everything below her mouth in the colour of her face."""
    x, y = joints[NOSE].astype(int)
    skin = np.median(ASTRONAUT[y - 4 : y + 12, x - 8 : x + 8].reshape(-1, 3), axis=0)
    shoulders = joints[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0)
    bare = ASTRONAUT.copy()
    bare[int(0.5 * (y + shoulders[1])) :] = skin
    return bare


def test_a_torso_in_the_colour_of_the_face_is_bare_and_a_suit_is_not(
    judged: Callable[..., Score], joints: np.ndarray, detectors: Detectors
) -> None:
    suit = judged(clothing.CLOTH_JUDGE, ASTRONAUT).value
    person = Evidence(Sample(Prompt("1girl"), 0, ASTRONAUT), detectors).person
    bare = judged_as(person, in_skin(joints), detectors).value
    assert suit is not None
    assert bare is not None
    assert bare < 0.5 < suit


def judged_as(person: Person | None, image: Image, detectors: Detectors) -> Score:
    """The score of a picture whose pose is that of another one."""
    sample = Sample(Prompt("1girl"), 0, image)
    evidence = Evidence(sample, detectors)
    evidence.__dict__["people"] = (person,)
    return clothing.CLOTH_JUDGE.score(sample, evidence)


def test_a_grey_photograph_says_nothing_of_clothes(
    joints: np.ndarray, detectors: Detectors
) -> None:
    grey = np.repeat(cv2.cvtColor(in_skin(joints), cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    person = Evidence(Sample(Prompt("1girl"), 0, ASTRONAUT), detectors).person
    score = judged_as(person, grey, detectors)
    assert (score.value, score.reason) == (None, "the face does not have the colour of skin")


def test_a_grid_of_dots_is_an_artefact_and_a_photograph_has_none(
    judged: Callable[..., Score],
) -> None:
    dots = np.where((np.indices((SIDE, SIDE)).sum(axis=0) % 2 == 0)[..., None], 6, -6)
    dotted = np.clip(ASTRONAUT.astype(int) + dots, 0, 255).astype(np.uint8)
    clean, broken = (judged(artefacts.JUDGE, image) for image in (ASTRONAUT, dotted))
    assert clean.value is not None
    assert broken.value is not None
    assert broken.value < 0.5 < clean.value
    assert broken.evidence["worst"] == "grid of dots"
    assert grid_level(ASTRONAUT[:60, :60]) == 0.0


def test_texture_in_most_of_a_picture_is_no_noise() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 20, (128, 128, 1))
    plain = np.full((128, 128, 3), 120.0)
    everywhere = np.clip(plain + noise, 0, 255).astype(np.uint8)
    textured = everywhere.copy()
    textured[:, 96:] = 120
    assert quiet_noise_level(textured) < 1.0 < 9.0 < noise_level(textured)
    assert quiet_noise_level(everywhere) > 9.0
    assert quiet_noise_level(np.full((128, 128, 3), 4, np.uint8)) == 0.0


def test_a_soft_ground_is_no_blur_and_a_soft_person_is(
    judged: Callable[..., Score], detectors: Detectors
) -> None:
    person = Evidence(Sample(Prompt("1girl"), 0, ASTRONAUT), detectors).person
    assert person is not None
    blurred: Image = np.asarray(cv2.GaussianBlur(ASTRONAUT, (0, 0), 6.0), np.uint8)
    wide: Image = np.asarray(cv2.resize(blurred, (1536, 512)), np.uint8)
    left, top, right, bottom = (round(SIDE * edge) for edge in person.box)
    wide[top:bottom, 512 + left : 512 + right] = ASTRONAUT[top:bottom, left:right]
    sharp, soft = (judged(sharpness.JUDGE, image).value for image in (wide, blurred))
    assert sharp is not None
    assert soft is not None
    assert soft < 0.5 < sharp


def test_a_second_face_is_a_second_person(judged: Callable[..., Score]) -> None:
    pair = np.ascontiguousarray(np.hstack([ASTRONAUT[:400, :400]] * 2))
    alone, two = (judged(people.JUDGE, image) for image in (ASTRONAUT, pair))
    assert (alone.value, two.value) == (1.0, 0.0)
    nobody = judged(people.JUDGE, np.full((256, 256, 3), 90, np.uint8))
    assert (nobody.value, nobody.reason) == (None, "no person found")


def test_a_red_iris_is_a_fault_and_red_glass_is_not(
    judged: Callable[..., Score], joints: np.ndarray
) -> None:
    def eyes_painted(share: float) -> Image:
        image = ASTRONAUT.copy()
        radius = max(1, round(share * float(np.linalg.norm(joints[2] - joints[5]))))
        x, y = (round(float(value)) for value in joints[LEFT_EYE])
        cv2.circle(image, (x, y), radius, (200, 10, 20), -1)
        return image

    sound, iris, glass = (
        judged(red_eyes.JUDGE, image).value
        for image in (ASTRONAUT, eyes_painted(0.11), eyes_painted(0.3))
    )
    assert sound is not None
    assert iris is not None
    assert glass is not None
    assert iris < 0.5 < min(sound, glass)


def test_the_framing_of_a_photograph_is_judged(judged: Callable[..., Score]) -> None:
    assert judged(framing.JUDGE, ASTRONAUT).value == 1.0
    empty = judged(framing.JUDGE, np.full((256, 256, 3), 90, np.uint8))
    assert (empty.value, empty.evidence) == (None, {"class": "none"})


@pytest.mark.parametrize(
    ("likely", "expected"),
    [
        ({"sound": 0.95, "extra arm": 0.03, "missing forearm": 0.02}, (False, False)),
        ({"sound": 0.9, "extra arm": 0.05, "missing forearm": 0.05}, (True, False)),
        ({"sound": 0.8, "extra arm": 0.05, "missing lower leg": 0.15}, (False, True)),
        ({"sound": 0.6, "missing forearm": 0.2, "extra leg": 0.2}, (True, True)),
        ({"sound": 0.4, "extra arm": 0.6}, (False, False)),  # wrong already
    ],
)
def test_only_limbs_in_doubt_are_looked_at_again(
    likely: dict[str, float], expected: tuple[bool, bool]
) -> None:
    assert photo_limbs.doubted_limbs(likely) == expected


def test_the_limbs_of_a_sound_photograph_are_sound(judged: Callable[..., Score]) -> None:
    score = judged(limbs.JUDGE, ASTRONAUT)
    assert score.value is not None
    assert score.value > 0.5
