"""The faces of training pictures, found by the real networks on scikit-image's astronaut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from metrics import open_detectors
from metrics.contract import JudgeSettings
from metrics.detectors import Detectors
from metrics.evidence import Evidence
from metrics.known_faces import DRAWN, NO_MODEL, read_faces
from metrics.scoring import score_samples, with_features
from tests.metrics.conftest import sample_of
from tests.metrics.detectors.onnx_file import pooling_embedder
from tuner.data import TrainingSet, read_folder
from tuner.judging import face_reference as module
from tuner.judging.face_reference import face_reference

WOMAN = np.asarray(data.astronaut()[:300, 70:370], np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(pooling_embedder(tmp_path_factory.mktemp("model") / "own.onnx"))


@pytest.fixture(scope="module")
def judges(model: str) -> Iterator[Detectors]:
    with open_detectors(JudgeSettings(gender_model=None, identity_model=model)) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Two sights of one woman, a landscape without anybody, and a caption for each."""
    folder = tmp_path_factory.mktemp("data")
    nobody = np.linspace(60, 200, 300)[:, None, None] * np.ones((1, 300, 3))
    images = {
        "as she is": (WOMAN, "a woman in an orange suit"),
        "mirrored": (WOMAN[:, ::-1], "a portrait"),
        "nobody": (nobody.astype(np.uint8), "a plain wall"),
    }
    for name, (pixels, caption) in images.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(caption, encoding="utf-8")
    return read_folder(folder)


def test_the_faces_of_photographs_are_found_told_and_kept(
    pictures: TrainingSet, judges: Detectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = face_reference([pictures, pictures], judges, tmp_path / "faces.safetensors")
    assert found.note is None
    assert found.pictures == 3
    assert found.vectors.shape == (2, 147)
    assert sorted(found.sexes, key=str) == [None, "female"]
    monkeypatch.setattr(module, "read_faces", None)  # nothing is looked at again
    again = face_reference([pictures], judges, tmp_path / "faces.safetensors")
    assert np.array_equal(again.vectors, found.vectors)
    assert again.sexes == found.sexes


def test_another_model_or_other_pictures_are_looked_at_anew(
    pictures: TrainingSet, judges: Detectors, model: str, tmp_path: Path
) -> None:
    file = tmp_path / "faces.safetensors"
    first = face_reference([pictures], judges, file)
    file.write_bytes(b"damaged")
    assert np.array_equal(face_reference([pictures], judges, file).vectors, first.vectors)
    whole = file.read_bytes()
    other = tmp_path / "other.onnx"
    other.write_bytes(Path(model).read_bytes() + b"\x12\x00")  # a field more, the same network
    settings = JudgeSettings(gender_model=None, identity_model=str(other))
    with open_detectors(settings) as opened:
        face_reference([pictures], opened, file)
    assert file.read_bytes() != whole


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        (JudgeSettings(gender_model=None, domain="drawn", identity_model="dlib"), DRAWN),
        (JudgeSettings(gender_model=None), NO_MODEL),
    ],
)
def test_drawings_and_studies_without_a_model_say_why_there_are_no_faces(
    pictures: TrainingSet, tmp_path: Path, settings: JudgeSettings, note: str
) -> None:
    with open_detectors(settings) as opened:
        found = face_reference([pictures], opened, tmp_path / "faces.safetensors")
        sample = sample_of(WOMAN)
        assert read_faces(sample, Evidence(sample, opened)) is None
    assert (found.note, len(found.vectors)) == (note, 0)
    assert not list(tmp_path.iterdir())


def test_a_scored_sample_keeps_its_face(judges: Detectors) -> None:
    small = cv2.resize(WOMAN, (96, 96), interpolation=cv2.INTER_AREA)
    (near,) = score_samples([sample_of(WOMAN)], judges)
    (far,) = score_samples([sample_of(np.asarray(small, np.uint8))], judges)
    assert near.features is not None
    assert far.features is not None
    assert near.features.faces == 1
    assert near.features.face is not None
    assert near.features.face.dtype == np.float16
    assert far.features.face is None  # the face is about 35 pixels large
    assert with_features(sample_of(WOMAN), judges).features.faces is None  # type: ignore[union-attr]
