"""Photographs of people, as they come with ultralytics and scikit-image, are no faults."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrics import open_detectors, score
from metrics.contract import JudgeSettings, Prompt, Sample, Score
from metrics.preprocess import analysis_picture


def packaged(package: str, path: str) -> Path:
    """A file of a package, without importing it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / path


PHOTOGRAPHS = {
    "bus": packaged("ultralytics", "assets/bus.jpg"),
    "zidane": packaged("ultralytics", "assets/zidane.jpg"),
    "astronaut": packaged("skimage", "data/astronaut.png"),
}


@pytest.fixture(scope="module")
def judged() -> dict[str, dict[str, Score]]:
    """Each photograph's scores, at 512 px as Stable Diffusion draws."""
    samples = []
    for path in PHOTOGRAPHS.values():
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"), np.uint8)
        samples.append(Sample(Prompt("a person"), 0, analysis_picture(pixels, 512)))
    with open_detectors(JudgeSettings(gender_model=None)) as detectors:
        scored = score(samples, detectors)
    return {name: dict(one.scores) for name, one in zip(PHOTOGRAPHS, scored, strict=True)}


@pytest.mark.parametrize("judge", ["no_explicit_parts", "cloth_share", "clean", "sharp"])
@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_clothes_and_pictures_raise_no_alarm(
    photograph: str, judge: str, judged: dict[str, dict[str, Score]]
) -> None:
    value = judged[photograph][judge].value
    assert value is not None
    dark = (photograph, judge) == ("bus", "cloth_share")  # a small face above a dark coat
    assert value >= (0.6 if dark else 0.8)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
def test_limbs_that_the_frame_does_not_show_are_not_held_against_anyone(
    photograph: str, judged: dict[str, dict[str, Score]]
) -> None:
    readable = judged[photograph]["pose_readable"].value
    assert readable is not None
    assert readable >= 0.5
    limbs = judged[photograph]["limbs"]
    assert limbs.value is None or limbs.value >= 0.5
