from __future__ import annotations

from collections.abc import Callable

from metrics.contract import Image
from metrics.detectors import Detectors
from metrics.preprocess import detector_picture


def test_faces_of_renders_are_found_and_scores_lie_in_range(
    detectors: Detectors, rendered: Callable[..., list[Image]]
) -> None:
    found = [detectors.parts(detector_picture(image)) for image in rendered(20, 15)]
    assert sum(any(name.startswith("FACE_") for name in parts) for parts in found) >= 15
    assert all(0.2 <= value <= 1.0 for parts in found for value in parts.values())
