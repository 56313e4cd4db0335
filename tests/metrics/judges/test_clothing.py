from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metrics.contract import Image, Sample
from metrics.evidence import Evidence
from metrics.figure.skin import skin_distance
from metrics.judges import clothing

Evidences = Callable[[Image], Evidence]
Rendered = Callable[..., list[Image]]


@pytest.fixture
def cloth(
    evidence: Evidences, rendered: Rendered, sampled: Callable[..., Sample]
) -> Callable[..., np.ndarray]:
    def judge(count: int, seed: int, **fixed: Any) -> np.ndarray:
        images = rendered(count, seed, **fixed)
        scores = [clothing.cloth_share(sampled(image), evidence(image)) for image in images]
        return np.array([score.value for score in scores if score.value is not None])

    return judge


def test_dressed_is_told_from_undressed(cloth: Callable[..., np.ndarray]) -> None:
    dressed, undressed = cloth(8, 7, clothed=True), cloth(8, 7, clothed=False)
    assert len(dressed) == len(undressed) == 8
    assert (dressed[:, None] > undressed[None]).mean() >= 0.99
    assert (dressed >= 0.5).mean() >= 0.98
    assert (undressed < 0.5).mean() >= 0.97


@pytest.mark.slow
def test_a_drawing_style_that_no_threshold_was_set_on_is_judged_too(
    cloth: Callable[..., np.ndarray],
) -> None:
    dressed = cloth(15, 17, style="second", clothed=True)
    undressed = cloth(15, 17, style="second", clothed=False)
    assert (dressed >= 0.5).mean() >= 0.93
    assert (undressed < 0.5).mean() >= 0.90


@pytest.mark.parametrize(
    ("skin", "colour"),
    [
        (3, "orange"),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ((0, "white"), (5, "black"))),
    ],
)
def test_clothes_near_the_colour_of_the_face_are_clothes_also_when_soft(
    skin: int, colour: str, cloth: Callable[..., np.ndarray]
) -> None:
    tops = {"skin": skin, "top": "shirt", "top_colour": colour}
    assert (cloth(10, 27, blur=0.015, **tops) >= 0.5).mean() >= 0.96


def test_a_roll_neck_does_not_pass_for_skin(cloth: Callable[..., np.ndarray]) -> None:
    sweaters = cloth(10, 37, style="second", top="sweater", top_colour="blue")
    assert (sweaters >= 0.5).mean() >= 0.96


def test_a_beard_does_not_dress_a_figure(cloth: Callable[..., np.ndarray]) -> None:
    assert (cloth(10, 47, sex="male", beard=True, clothed=False) < 0.5).mean() >= 0.96


def test_shade_on_skin_counts_less_than_cloth() -> None:
    skin = np.array([80.0, 9.0, 20.0], np.float32)
    shaded = np.array([60.0, 12.0, 27.0], np.float32)
    white = np.array([95.0, 1.0, -1.0], np.float32)
    dark = np.array([18.0, 9.0, 5.0], np.float32)
    assert skin_distance(skin, skin) == 0.0
    assert skin_distance(shaded, skin) < 9.0
    assert skin_distance(white, skin) > 15.0
    assert skin_distance(dark, skin) > 15.0


def test_a_featureless_body_shows_no_explicit_part(
    evidence: Evidences, rendered: Rendered, sampled: Callable[..., Sample]
) -> None:
    for image in rendered(6, 8, clothed=False):
        score = clothing.no_explicit_parts(sampled(image), evidence(image))
        assert score.value is not None
        assert score.value > 0.5


def test_no_figure_is_an_abstention(evidence: Evidences, sampled: Callable[..., Sample]) -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    assert clothing.cloth_share(sampled(image), evidence(image)).value is None
    assert clothing.no_explicit_parts(sampled(image), evidence(image)).value == 1.0
