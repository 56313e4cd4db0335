from __future__ import annotations

import numpy as np
import pytest

from metrics.preprocess import (
    NEUTRAL,
    analysis_picture,
    detector_picture,
    lab,
    overlap,
    square_crop,
)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), (256, 256)),
        ((64, 96), (256, 384)),
        ((300, 400), (300, 400)),
        ((720, 1280), (288, 512)),
    ],
)
def test_detectors_get_a_size_they_read(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert detector_picture(np.zeros((*size, 3), np.uint8)).shape == (*expected, 3)


def test_analysis_picture_has_the_longest_side_asked_for() -> None:
    assert analysis_picture(np.zeros((512, 768, 3), np.uint8), 128).shape == (85, 128, 3)


def test_lab_of_known_colours() -> None:
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]]
    assert lab(colours)[0] == pytest.approx(np.array(expected), abs=0.1)


def test_crop_is_square_and_grey_outside_the_picture() -> None:
    picture = np.full((100, 50, 3), 7, np.uint8)
    crop = square_crop(picture, (0.0, 0.0, 1.0, 1.0), margin=0.0)
    assert crop.shape == (100, 100, 3)
    assert tuple(crop[50, 0]) == (NEUTRAL,) * 3
    assert (crop[:, 30:70] == 7).all()


def test_crop_of_a_box_outside_the_picture_is_all_grey() -> None:
    crop = square_crop(np.zeros((10, 10, 3), np.uint8), (1.5, 1.5, 1.9, 1.9))
    assert (crop == NEUTRAL).all()


def test_the_overlap_of_boxes_by_hand() -> None:
    box = (0.2, 0.2, 0.6, 0.6)
    assert overlap(box, box) == pytest.approx(1.0)
    assert overlap(box, (0.4, 0.2, 0.8, 0.6)) == pytest.approx(1 / 3)
    assert overlap(box, (0.6, 0.2, 0.9, 0.6)) == 0.0
