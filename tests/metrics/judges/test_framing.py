from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metrics.contract import FramingClass, Image, Sample
from metrics.evidence import Evidence
from metrics.judges.framing import score
from metrics.preprocess import analysis_picture
from tuner.mannequin import draw
from tuner.mannequin.figure import Figure
from tuner.mannequin.render import random_figure, truth

COUNT = 30


def drawn(size: int, style: str, seed: int = 41) -> list[tuple[FramingClass, Image]]:
    rng = np.random.default_rng(seed)
    figures = [random_figure(rng, style=style) for _ in range(COUNT)]
    return [(one.framing, draw(one, size)) for one in figures]


@pytest.mark.parametrize("size", [64, pytest.param(256, marks=pytest.mark.slow)])
def test_the_class_is_right_on_rendered_figures(
    size: int, evidence: Callable[[Image], Evidence]
) -> None:
    pictures = drawn(size, "first")
    assert {framing for framing, _ in pictures} == {"full", "half"}
    right = [
        evidence(analysis_picture(image, 256)).framing == framing for framing, image in pictures
    ]
    assert np.mean(right) >= 0.98


@pytest.mark.slow
def test_the_class_is_right_in_a_style_that_nothing_was_set_by(
    evidence: Callable[[Image], Evidence],
) -> None:
    found = [(framing, evidence(image).framing) for framing, image in drawn(64, "second")]
    read = [expected == framing for expected, framing in found if framing != "none"]
    assert len(read) >= 0.95 * COUNT
    assert np.mean(read) >= 0.95


def cut(figure: Figure, upper: str, lower: str, along: float) -> Image:
    """The picture above a line that lies between two pairs of joints, at full width."""
    joints, image = truth(figure).joints, draw(figure, 256)
    high, low = (
        float(np.mean([joints[f"{side}_{part}"][1] for side in ("left", "right")]))
        for part in (upper, lower)
    )
    side = round(256 * (high + along * (low - high)))
    left = (256 - side) // 2
    return np.ascontiguousarray(image[:side, left : left + side])


@pytest.mark.parametrize(
    ("framing", "line", "expected"),
    [
        ("full", ("knee", "ankle", 0.45), "knee-up"),
        ("full", ("hip", "knee", 0.2), "half"),
        ("half", ("shoulder", "hip", 0.35), "portrait"),
    ],
)
def test_a_figure_cut_by_the_frame_is_called_by_what_is_left(
    framing: str,
    line: tuple[str, str, float],
    expected: FramingClass,
    evidence: Callable[[Image], Evidence],
) -> None:
    rng = np.random.default_rng(5)
    figures = [random_figure(rng, framing=framing, arm_pose="arms at sides") for _ in range(12)]
    found = [evidence(cut(figure, *line)).framing for figure in figures]
    known = [one for one in found if one != "none"]
    assert len(known) >= 8
    assert sum(one == expected for one in known) >= len(known) - 1


def test_only_a_prompt_that_asks_for_a_framing_is_judged(
    evidence: Callable[[Image], Evidence],
    sampled: Callable[..., Sample],
    rendered: Callable[..., list[Image]],
) -> None:
    (image,) = rendered(1, 3, framing="full")

    def judged(picture: Image, **prompt: Any) -> tuple[float | None, str | None]:
        found = score(sampled(picture, **prompt), evidence(picture))
        return found.value, found.reason

    assert judged(image, framing="full") == (1.0, None)
    assert judged(image, framing="half") == (0.0, None)
    assert judged(image) == (None, "the prompt asks for no framing")
    empty = np.full((64, 64, 3), 128, np.uint8)
    assert judged(empty, framing="full") == (None, "no pose read")
    assert score(sampled(empty, framing="full"), evidence(empty)).evidence == {"class": "none"}
