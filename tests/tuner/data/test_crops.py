"""The geometry of crops, and the face square on figures of which the joints are known."""

from __future__ import annotations

import numpy as np
import pytest

from metrics.contract import Image
from metrics.detectors.mediapipe import Person, PoseLandmarker
from metrics.detectors.models import fetch
from tuner.data.preparing.crops import (
    Square,
    body_square,
    cut,
    face_square,
    head_in_view,
    in_view,
    inner,
    within,
)
from tuner.data.preparing.matting import best_match, on_plain_ground
from tuner.mannequin import draw
from tuner.mannequin.render import Figure, truth


def _ramp(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("box", "size", "expected"),
    [
        # Room on all sides: the margin of 15 % of 100 px.
        ((0.4, 0.25, 0.5, 0.5), (400, 400), Square(115, 85, 130)),
        # At the left edge it moves to the right.
        ((0.0, 0.25, 0.1, 0.5), (400, 400), Square(0, 85, 130)),
        # The margin gives way where only it would leave the picture.
        ((0.4, 0.0, 0.6, 0.95), (400, 400), Square(0, 0, 400)),
        # A whole figure in a tall picture leaves it at the sides, evenly.
        ((0.3, 0.05, 0.7, 0.95), (200, 400), Square(-80, 20, 360)),
    ],
)
def test_body_squares(
    box: tuple[float, float, float, float], size: tuple[int, int], expected: Square
) -> None:
    assert body_square(box, *size) == expected


def test_a_square_holds_the_box_it_was_made_for() -> None:
    random = np.random.default_rng(1)
    for _ in range(300):
        width, height = random.integers(50, 900, 2)
        (left, right), (top, bottom) = np.sort(random.random((2, 2)), axis=1)
        square = body_square((left, top, right, bottom), int(width), int(height))
        x0, y0, x1, y1 = square.corners
        assert x0 <= left * width + 1
        assert y0 <= top * height + 1
        assert x1 >= right * width - 1
        assert y1 >= bottom * height - 1


def test_a_cut_is_the_picture_where_there_is_one_and_its_edge_beyond() -> None:
    image = _ramp(40, 20)
    crop, padding = cut(image, Square(-10, 0, 40))
    assert crop.shape == (40, 40, 3)
    assert padding == 0.5
    assert np.array_equal(crop[:, 10:30], image)
    assert len(np.unique(crop[:, :10].reshape(-1, 3), axis=0)) == 1
    whole, none = cut(image, Square(3, 5, 12))
    assert np.array_equal(whole, image[5:17, 3:15])
    assert none == 0
    assert inner(image, Square(15, 35, 12)).shape == (5, 5, 3)


def test_who_else_is_in_the_square() -> None:
    square = Square(0, 0, 100)
    assert in_view((0.2, 0.0, 0.4, 0.4), square, 200, 200)
    assert not in_view((0.48, 0.0, 0.9, 0.4), square, 200, 200)
    assert head_in_view((0.1, 0.4, 0.3, 1.0), square, 200, 200)
    assert not head_in_view((0.1, 0.6, 0.3, 1.0), square, 200, 200)


def test_a_box_within_a_square() -> None:
    inside = within((0.25, 0.5, 0.75, 1.0), Square(50, 50, 100), 200, 100)
    assert inside == (0.0, 0.0, 1.0, 0.5)


@pytest.fixture(scope="module")
def read() -> tuple[Image, Person, tuple[float, float]]:
    """Return a figure of 256 px, the landmarker's person in it, and its true nose."""
    figure = Figure("female", ground="cluttered", jitter=3)
    image = draw(figure, 256)
    landmarker = PoseLandmarker(fetch("pose_landmarker"))
    (person,) = landmarker(image)
    landmarker.close()
    return image, person, truth(figure).joints["nose"]


def test_the_face_square_holds_the_head(read: tuple[Image, Person, tuple[float, float]]) -> None:
    image, person, nose = read
    square = face_square(person, 256, 256)
    assert square is not None
    x0, y0, x1, y1 = square.corners
    assert abs((x0 + x1) / 2 - nose[0] * 256) < 0.15 * square.side
    assert abs((y0 + y1) / 2 - nose[1] * 256) < 0.15 * square.side
    neck = truth(Figure("female", ground="cluttered", jitter=3)).joints["neck"][1] * 256
    head = (neck - nose[1] * 256) / 0.76  # the distance from neck to nose, in heads
    assert 1.4 * head < square.side < 2.6 * head
    assert image.shape == (256, 256, 3)


def test_plain_ground_takes_the_room_and_leaves_the_figure(
    read: tuple[Image, Person, tuple[float, float]],
) -> None:
    image, person, (x, y) = read
    plain = on_plain_ground(image, person, (10, 200, 30))
    ground = np.concatenate([plain[:, :8], plain[:, -8:]], axis=1).reshape(-1, 3)
    assert (np.abs(ground.astype(int) - (10, 200, 30)).max(axis=1) <= 2).mean() > 0.95
    face = slice(int(y * 256) - 4, int(y * 256) + 4), slice(int(x * 256) - 3, int(x * 256) + 3)
    assert np.abs(plain[face].astype(int) - image[face]).mean() < 6


def test_the_best_match_is_the_overlapping_one(
    read: tuple[Image, Person, tuple[float, float]],
) -> None:
    _, person, _ = read
    assert best_match((person,), person.box) is person
    assert best_match((person,), (0.0, 0.0, 0.1, 0.1)) is None
    assert best_match((), person.box) is None
