from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metrics.contract import Image, Sample
from metrics.evidence import Evidence
from metrics.judges import artefacts
from tuner.mannequin import draw
from tuner.mannequin.figure import Style
from tuner.mannequin.render import random_figure

Judge = Callable[[Image], float]


@pytest.fixture
def judge(evidence: Callable[[Image], Evidence], sampled: Callable[..., Sample]) -> Judge:
    def value(image: Image) -> float:
        score = artefacts.score(sampled(image), evidence(image))
        assert score.value is not None
        return score.value

    return value


def test_sound_renders_are_clean(judge: Judge, rendered: Callable[..., list[Image]]) -> None:
    values = [judge(image) for image in rendered(60, 9)]
    assert np.mean([value >= 0.5 for value in values]) >= 0.96


def test_colour_blocks_are_found(judge: Judge, rendered: Callable[..., list[Image]]) -> None:
    values = [judge(image) for image in rendered(30, 10, block=0.25)]
    assert np.mean([value < 0.5 for value in values]) >= 0.9


def test_the_box_of_a_colour_block_is_reported() -> None:
    image = np.random.default_rng(0).integers(90, 110, (64, 80, 3)).astype(np.uint8)
    image[16:32, 20:60] = (0, 160, 0)
    block = artefacts.largest_colour_block(image)
    assert block.box == pytest.approx((0.25, 0.25, 0.75, 0.5), abs=0.03)
    assert block.share == pytest.approx(0.125, abs=0.03)
    assert artefacts.largest_colour_block(image[:16]).share == 0.0


def test_burnt_colours_are_found(judge: Judge, rendered: Callable[..., list[Image]]) -> None:
    image = rendered(1, 11, top_colour="red", framing="half", clothed=True)[0]
    burnt = np.clip((image.astype(float) - 128) * 6 + 128, 0, 255).astype(np.uint8)
    assert judge(burnt) < 0.5 < judge(image)


def test_noise_is_found() -> None:
    rng = np.random.default_rng(0)
    grey = np.full((64, 64, 3), 128.0) + rng.normal(0, 20, (64, 64, 1))
    assert artefacts.noise_level(grey.astype(np.uint8)) == pytest.approx(20, rel=0.15)


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_a_constant_picture_is_worthless(judge: Judge, shade: int) -> None:
    assert judge(np.full((64, 64, 3), shade, np.uint8)) == 0.0


@pytest.mark.parametrize("size", [64, pytest.param(256, marks=pytest.mark.slow)])
@pytest.mark.parametrize("style", ["first", "second"])
def test_a_small_block_is_told_from_flat_clothes(judge: Judge, style: Style, size: int) -> None:
    rng = np.random.default_rng(12)
    sound = [draw(random_figure(rng, style=style), size) for _ in range(30)]
    side = round(0.12 * size)
    blocked = [image.copy() for image in sound]
    for image in blocked:
        image[size // 8 : size // 8 + side, size // 8 : size // 8 + side] = (235, 20, 200)
    assert np.mean([judge(image) < 0.5 for image in sound]) <= 0.04
    assert np.mean([judge(image) < 0.5 for image in blocked]) >= 0.9
