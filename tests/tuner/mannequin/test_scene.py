from __future__ import annotations

import numpy as np
import pytest

from tuner.mannequin.scene import MAX_FIGURES, SIZES, random_scene


def test_equal_seeds_give_equal_scenes() -> None:
    (image, boxes), (same, same_boxes) = (random_scene(np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(image, same)
    assert np.array_equal(boxes, same_boxes)
    assert image.dtype == np.uint8
    assert image.shape[0] == image.shape[1]
    assert image.shape[0] in SIZES


def test_scenes_hold_one_to_four_figures_whose_boxes_lie_in_the_frame() -> None:
    rng = np.random.default_rng(9)
    counts = set()
    for _ in range(40):
        image, boxes = random_scene(rng, 128)
        counts.add(len(boxes))
        assert boxes.dtype == np.float32
        assert (boxes >= 0).all()
        assert (boxes <= len(image)).all()
        assert (boxes[:, 2:] - boxes[:, :2] > 4).all()
    assert counts == set(range(1, MAX_FIGURES + 1))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_edge_shows_the_colour_that_figures_are_cut_out_with(seed: int) -> None:
    image, _ = random_scene(np.random.default_rng(seed), 128)
    red, green, blue = (image[..., channel].astype(int) for channel in range(3))
    assert not ((red > 220) & (blue > 220) & (green < 60)).any()
