from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from skimage.measure import blur_effect

from metrics.contract import Image, Sample
from metrics.evidence import Evidence
from metrics.judges import sharpness


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


@pytest.mark.parametrize("shape", [(64, 64), (256, 256), (96, 40), (8, 300), (2, 2)])
def test_the_blur_effect_is_that_of_scikit_image(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[1])
    small = rng.integers(0, 256, (shape[0] // 2, shape[1] // 2, 3)).astype(np.uint8)
    image = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)
    expected = np.nan_to_num(blur_effect(image, channel_axis=-1), nan=1.0)
    assert sharpness.blur_effect(np.asarray(image, np.uint8)) == pytest.approx(expected, abs=1e-4)
