from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from metrics.contract import Image, Prompt, Sample, Score, ScoredSample
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.judges import red_eyes
from metrics.objectives import objectives
from tuner.judging.selfcheck import area_under_curve
from tuner.mannequin import draw
from tuner.mannequin.figure import Figure, random_figure

Judged = Callable[[Image], Score]


@pytest.fixture
def judged(detectors: Detectors, sampled: Callable[..., Sample]) -> Judged:
    def ask(image: Image) -> Score:
        sample = sampled(image)
        return red_eyes.score(sample, Evidence(sample, detectors))

    return ask


def half_bodies(count: int, seed: int, style: str) -> list[Figure]:
    rng = np.random.default_rng(seed)
    return [random_figure(rng, framing="half", style=style) for _ in range(count)]


@pytest.mark.parametrize("style", ["first", pytest.param("second", marks=pytest.mark.slow)])
def test_red_irises_are_seen_on_half_bodies(style: str, judged: Judged) -> None:
    figures = half_bodies(12, 31, style)
    sound = [judged(draw(one, 256)).value for one in figures]
    faulty = [judged(draw(replace(one, red_eyes=True), 256)).value for one in figures]
    sound_values, faulty_values = (
        [v for v in values if v is not None] for values in (sound, faulty)
    )
    assert min(len(sound_values), len(faulty_values)) >= 6
    area = area_under_curve(faulty_values, sound_values)
    assert area is not None
    assert area >= 0.97
    assert all(value >= 0.5 for value in sound_values)


def test_red_hair_brows_and_clothes_are_no_red_eyes(judged: Judged) -> None:
    for one in half_bodies(6, 4, "first"):
        red = replace(one, hair="red hair", top_colour="red", arm_pose="arms up")
        value = judged(draw(red, 256)).value
        assert value is None or value > 0.9


def test_one_red_eye_is_enough_and_a_red_light_is_not(judged: Judged) -> None:
    figure = Figure("male", framing="half", long_hair=False, jitter=3)
    sound, red = draw(figure, 256), draw(replace(figure, red_eyes=True), 256)
    changed = np.flatnonzero((sound != red).any(axis=(0, 2)))
    half = sound.copy()
    middle = int(changed.mean())
    half[:, :middle] = red[:, :middle]
    found = judged(half).value
    assert found is not None
    assert found < 0.5
    warm = np.clip(sound * np.array([1.25, 0.85, 0.85]), 0, 255).astype(np.uint8)
    assert (judged(warm).value or 0.0) > 0.9


def test_a_red_ground_that_reaches_in_is_no_iris(judged: Judged) -> None:
    image = draw(Figure("male", framing="half", long_hair=False, jitter=3), 256)
    place = int(
        np.flatnonzero(
            (
                image
                != draw(
                    Figure("male", framing="half", long_hair=False, jitter=3, red_eyes=True), 256
                )
            ).any(axis=(1, 2))
        ).mean()
    )
    image[place - 3 : place + 3] = (220, 20, 24)  # a red line right across both eyes
    value = judged(image).value
    assert value is None or value > 0.9


@pytest.mark.parametrize(
    ("size", "framing", "reason"),
    [(64, "half", "picture too small"), (256, "full", "eyes too small")],
)
def test_an_iris_too_small_to_see_is_not_judged(
    size: int, framing: str, reason: str, judged: Judged
) -> None:
    for jitter in range(4):
        figure = Figure("female", framing=framing, red_eyes=True, jitter=jitter)  # type: ignore[arg-type]
        score = judged(draw(figure, size))
        assert score.value is None
        assert reason in (score.reason or "")


def test_nobody_has_no_eyes(judged: Judged) -> None:
    assert judged(np.full((256, 256, 3), 200, np.uint8)).reason == "no pose read"


def scored(eyes: float | None, older: bool = False) -> ScoredSample:
    values = {
        "pose_readable": 1.0, "limbs": 0.9, "one_person": 1.0, "gender": 0.8, "cloth_share": 0.9,
        "no_explicit_parts": 1.0, "sharp": 0.83, "clean": 0.71,
    }  # fmt: skip
    scores = {name: Score(name, value) for name, value in values.items()}
    if not older:
        scores["no_red_eyes"] = Score("no_red_eyes", eyes, None if eyes is not None else "small")
    return ScoredSample(Sample(Prompt("1girl", "female"), 0, np.zeros((8, 8, 3), np.uint8)), scores)


def test_where_no_eye_is_judged_no_objective_changes_by_a_bit() -> None:
    older = [scored(None, older=True)] * 3
    assert objectives([scored(None)] * 3, older) == objectives(older, older)
    assert objectives([scored(0.99)] * 3, older) == objectives(older, older), "nor by sound eyes"


def test_red_eyes_lower_quality_alone() -> None:
    sound, base = [scored(None)] * 3, [scored(None)] * 3
    red = [scored(0.02), *sound[1:]]
    before, after = objectives(sound, base), objectives(red, base)
    assert after["quality"].value < before["quality"].value
    assert (after["quality"].n, after["quality"].total) == (3, 3)
    for name in ("pose", "gender", "clothing"):
        assert after[name] == before[name]
