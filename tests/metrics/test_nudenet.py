"""NudeNet as the judges ask it says what NudeNet says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from nudenet import NudeDetector
from skimage import data

from metrics.contract import Image
from metrics.detectors import Detectors
from metrics.figure.figure import limb_likeness, read_figure
from metrics.preprocess import detector_picture, lab


@pytest.fixture
def pictures(rendered: Callable[..., list[Image]]) -> list[Image]:
    """Renders, a photograph, and a picture with nothing in it."""
    found = [detector_picture(image) for image in rendered(4, 3)]
    return [*found, np.ascontiguousarray(data.astronaut()), np.full((256, 300, 3), 120, np.uint8)]


def test_the_parts_are_those_of_the_library_to_the_bit(
    detectors: Detectors, pictures: list[Image]
) -> None:
    library = NudeDetector()
    library.onnx_session = detectors.parts._detector.onnx_session._session
    count = 0
    for picture in pictures:
        best: dict[str, float] = {}
        for part in library.detect(picture):
            best[part["class"]] = max(best.get(part["class"], 0.0), float(part["score"]))
        assert detectors.parts(picture) == best
        count += len(best)
    assert count >= 3
    assert detectors.parts(pictures[-1]) == {}


def test_limb_likeness_is_a_distance_to_the_nearest_colour(
    detectors: Detectors, rendered: Callable[..., list[Image]]
) -> None:
    from metrics.figure.figure import _WEIGHTS, _limb_palette

    for image in rendered(4, 5):
        figure = read_figure(image, detectors.pose(image)[0])
        colours = lab(figure.picture) * _WEIGHTS
        palette = _limb_palette(figure, colours)
        gaps = np.stack([np.linalg.norm(colours - colour, axis=-1) for colour in palette])
        assert np.array_equal(limb_likeness(figure), gaps.min(axis=0) < 10.0)
