from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from metrics import sharpness
from metrics.contract import Image, Sample
from metrics.evidence import Evidence


def test_more_blur_is_never_sharper(
    evidence: Callable[[Image], Evidence],
    rendered: Callable[..., list[Image]],
    sampled: Callable[..., Sample],
) -> None:
    for image in rendered(10, 4):
        ladder = [image, *(cv2.GaussianBlur(image, (0, 0), s) for s in (1.0, 2.0, 4.0))]
        values = [sharpness.score(sampled(step), evidence(step)).value for step in ladder]
        assert values == sorted(values, reverse=True)
        assert values[0] is not None
        assert values[0] > 0.9
        assert values[-1] is not None
        assert values[-1] < 0.1


def test_a_constant_picture_is_not_sharp(
    evidence: Callable[[Image], Evidence], sampled: Callable[..., Sample]
) -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    assert sharpness.score(sampled(image), evidence(image)).value == 0.0
