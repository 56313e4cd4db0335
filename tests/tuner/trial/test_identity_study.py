"""`identity` in whole runs: the real networks on real photographs, and a study of photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from metrics import open_detectors
from metrics.contract import Image as Pixels, JudgeSettings, Prompt, Sample, ScoredSample
from metrics.detectors import Detectors
from metrics.detectors.models import dlib_weights
from metrics.scoring import score_samples
from metrics.sets.measures import measures
from tests.metrics.detectors.onnx_file import pooling_embedder
from tests.metrics.test_photographs import PHOTOGRAPHS
from tests.tuner.tiny_space import write_space
from tuner.cli.app import app
from tuner.data import read_folder
from tuner.judging.face_reference import face_reference
from tuner.storage import Store, StudyFolder
from tuner.storage.fresh_rows import BASE
from tuner.storage.rows import RungRow

WOMAN: Pixels = np.asarray(data.astronaut()[:300, 70:370], np.uint8)


def views(picture: Pixels, count: int) -> Iterator[Pixels]:
    """Sights of one picture: mirrored, brighter, turned, other parts of it."""
    for number in range(count):
        side = len(picture)
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), 3.0 * (number - count / 2), 1.0)
        moved = cv2.warpAffine(picture, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
        moved = moved[:, ::-1] if number % 2 else moved
        yield np.asarray(np.clip(moved * (0.8 + 0.08 * number), 0, 255), np.uint8)


def zidane() -> list[Pixels]:
    """The two men of ultralytics' photograph."""
    with Image.open(PHOTOGRAPHS["zidane"]) as opened:
        picture = np.asarray(opened.convert("RGB"), np.uint8)
    return [picture[100:520, 340:760], picture[20:440, 780:1200]]


@pytest.fixture(scope="module")
def judges() -> Iterator[Detectors]:
    settings = JudgeSettings(gender_model=None, identity_model="dlib")
    with open_detectors(settings) as opened:
        yield opened


def scored(pictures: Sequence[Pixels], judges: Detectors, folder: Path) -> list[ScoredSample]:
    """The pictures as samples of a suite, scored, written to results.db and read back."""
    study = StudyFolder(folder)
    study.create()
    samples = [
        Sample(Prompt(f"a person {cell}"), 0, picture, folder / f"{cell}.png")
        for cell, picture in enumerate(pictures)
    ]
    rung = RungRow(0, 1, {}, {}, None, folder / "grid.png")
    with Store(study.results_db) as store:
        store.put_rung(rung, score_samples(samples, judges))
        return [row.scored() for row in store.samples(0, 1)]


@pytest.mark.slow
@pytest.mark.skipif(dlib_weights() is None, reason="tuner[identity] is not installed")
def test_a_woman_is_told_from_two_men(judges: Detectors, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number, picture in enumerate(views(WOMAN, 6)):
        Image.fromarray(picture).save(photographs / f"{number}.png")
        (photographs / f"{number}.txt").write_text("a portrait photo", encoding="utf-8")
    faces = face_reference([read_folder(photographs)], judges, tmp_path / "faces.safetensors")
    assert (len(faces.vectors), faces.note) == (6, None)
    men = [sight for man in zidane() for sight in views(man, 3)]
    suites = {"base": men, "woman": list(views(WOMAN, 6)), "men": men[::-1]}
    suites["half"] = [*suites["woman"][:3], *men[:3]]
    found = {name: scored(each, judges, tmp_path / name) for name, each in suites.items()}
    values = {
        name: measures(each, found["base"], (), faces)["identity"].value
        for name, each in found.items()
    }
    assert values["base"] == 0.0
    assert values["woman"] is not None
    assert values["half"] is not None
    assert values["men"] is not None
    assert values["woman"] > 0.8
    assert 0.3 < values["half"] < 0.7
    assert values["men"] < 0.15
    assert measures(found["woman"], found["base"], (), faces)["one_face"].value == 1.0


@pytest.mark.slow
def test_a_study_of_photographs_keeps_what_it_knows_of_faces(tmp_path: Path) -> None:
    """Its tiny base draws no faces: `identity` says so for the base and on fresh noise."""
    space = write_space(tmp_path)
    values = yaml.safe_load(space.read_text("utf-8"))
    values["judges"] = {"gender_model": "face", "identity_model": "own.onnx"}
    values["budget"] = {"trials": 1, "rungs": [1], "confirm": 1, "confirm_samples": 2}
    values["budget"]["confirm_repeats"] = 0
    space.write_text(yaml.safe_dump(values), encoding="utf-8")
    pooling_embedder(tmp_path / "own.onnx")
    for number, picture in enumerate(views(WOMAN, 6)):
        Image.fromarray(picture).save(tmp_path / "data" / f"{number}.png")
        (tmp_path / "data" / f"{number}.txt").write_text("a portrait photo", encoding="utf-8")
    studies = ["--studies", str(tmp_path / "studies")]
    done = CliRunner().invoke(app, ["run", str(space), *studies, "--workers", "1"])
    assert done.exit_code == 0, done.output
    folder = StudyFolder(tmp_path / "studies" / "faults")
    assert folder.faces.is_file()
    note = "0 of the base's faces are large enough, needed 5"
    with Store(folder.results_db, read_only=True) as store:
        rungs = [*store.rungs(None), *store.rungs(0)]
        samples = [*store.samples(None, 0), *store.samples(0, 1), *store.fresh_samples(BASE)]
    assert {rung.measures["identity"].note for rung in rungs} == {note}
    assert {rung.measures["one_face"].value for rung in rungs} == {0.0}
    assert len(samples) == 6
    assert {sample.features and sample.features.faces for sample in samples} == {0}
    asked = yaml.safe_load(space.read_text("utf-8")) | {"objectives": ["pose", "identity"]}
    space.write_text(yaml.safe_dump(asked | {"study": "asked"}), encoding="utf-8")
    refused = CliRunner().invoke(app, ["run", str(space), *studies, "--workers", "1"])
    assert refused.exit_code != 0
    assert f"identity ({note}) cannot be measured here" in " ".join(refused.stderr.split())


def test_photographs_without_faces_read_are_no_evidence(tmp_path: Path) -> None:
    """A study that goes on without the network gives no low number: it gives none."""
    sample = Sample(Prompt("a person"), 0, WOMAN, tmp_path / "0.png")
    unread = [ScoredSample(replace(sample, seed=seed), {}) for seed in range(6)]
    found = measures(unread, unread, ())
    assert found["identity"].value is None
    assert found["one_face"].note == "the faces of the samples were not looked at"
