"""The face of scikit-image's astronaut, moved, mirrored, covered and reduced."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from skimage import data

from metrics.contract import Image, JudgeSettings
from metrics.detectors import Detectors, faces
from metrics.detectors.faces import Face, FaceReader
from metrics.judges import adult, gender


@pytest.fixture(scope="module")
def detectors() -> Iterator[Detectors]:
    opened = Detectors(JudgeSettings(gender_model=None))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def reader(detectors: Detectors) -> FaceReader:
    assert detectors.faces is not None
    return detectors.faces


@pytest.fixture(scope="module")
def astronaut() -> Image:
    return np.asarray(data.astronaut(), np.uint8)


def found(image: Image, detectors: Detectors) -> Face | None:
    (person, *_) = detectors.pose(image)
    assert detectors.faces is not None
    return detectors.faces.find(image, person)


@pytest.fixture(scope="module")
def face(astronaut: Image, detectors: Detectors) -> Face:
    own = found(astronaut, detectors)
    assert own is not None
    return own


def test_the_points_lie_on_eyes_nose_and_mouth(face: Face) -> None:
    by_eye = np.array([(206, 101), (249, 107), (225, 128), (222, 148)])
    assert np.abs(face.points - by_eye).max() < 5
    assert 100 < face.side < 130


def test_a_mirrored_face_has_mirrored_points_and_nearly_the_same_answers(
    astronaut: Image, face: Face, detectors: Detectors, reader: FaceReader
) -> None:
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    other = found(mirrored, detectors)
    assert other is not None
    back = other.points[[1, 0, 2, 3]] * (-1, 1) + (astronaut.shape[1], 0)
    assert np.abs(back - face.points).max() < 4  # of a face of 113 pixels
    odds = [reader.female_log_odds(*pair) for pair in ((astronaut, face), (mirrored, other))]
    assert abs(odds[0] - odds[1]) < 4  # of a spread of 8 over all faces
    years = [reader.ages(*pair) @ np.arange(81) for pair in ((astronaut, face), (mirrored, other))]
    assert abs(years[0] - years[1]) < 4


def test_a_shifted_picture_shifts_the_face(
    astronaut: Image, face: Face, detectors: Detectors, reader: FaceReader
) -> None:
    moved = cv2.copyMakeBorder(astronaut, 40, 0, 24, 0, cv2.BORDER_REPLICATE)
    other = found(moved, detectors)
    assert other is not None
    assert np.abs(other.points - (24, 40) - face.points).max() < 3
    odds = reader.female_log_odds(moved, other)
    assert abs(odds - reader.female_log_odds(astronaut, face)) < 3


def test_ages_are_probabilities_and_the_astronaut_is_adult(
    astronaut: Image, face: Face, reader: FaceReader
) -> None:
    ages = reader.ages(astronaut, face)
    assert ages.shape == (81,)
    assert ages.sum() == pytest.approx(1.0, abs=1e-3)
    assert ages[: adult.ADULT].sum() < 0.1


def test_a_face_that_may_be_young_is_seen_in_every_view(
    astronaut: Image, face: Face, reader: FaceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    clearly_adult = reader.ages(astronaut, face)
    monkeypatch.setattr(faces, "_MAYBE_YOUNG", 0.0)
    every_view = reader.ages(astronaut, face)
    assert every_view.sum() == pytest.approx(1.0, abs=1e-3)
    assert np.abs(every_view - clearly_adult).max() > 1e-3


def test_no_face_is_seen_where_it_is_covered(
    astronaut: Image, face: Face, detectors: Detectors, reader: FaceReader
) -> None:
    """A head seen from behind is hair where the face was."""
    (person, *_) = detectors.pose(astronaut)
    behind = astronaut.copy()
    hair = tuple(int(value) for value in astronaut[60, 225])
    x, y = (round(float(value)) for value in face.points.mean(axis=0))
    cv2.ellipse(behind, (x, y), (50, 72), 0, 0, 360, hair, -1)
    assert reader.find(behind, person) is None


def test_no_face_is_seen_where_the_frame_cuts_it(astronaut: Image, detectors: Detectors) -> None:
    (person, *_) = detectors.pose(astronaut)
    assert detectors.faces is not None
    cut = np.ascontiguousarray(astronaut[115:])  # through the nose
    joints = person.joints * (1, 512 / 397) - (0, 115 / 397)
    moved = type(person)(joints.astype(np.float32), person.visibility, person.mask)
    assert detectors.faces.find(cut, moved) is None


def test_faces_may_be_as_small_as_half_of_the_networks_inputs() -> None:
    assert faces.SEX_SIDE / 2 == gender.LEAST_SIDE
    assert faces.AGE_SIDE / 2 == adult.LEAST_SIDE
