from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from metrics.contract import Image, JudgeSettings
from metrics.detectors import Detectors
from metrics.detectors.models import ModelUnavailableError
from metrics.detectors.yolo import PersonDetector, _contained, load_yolo
from tuner.mannequin import draw
from tuner.mannequin.building.train_yolo import NETWORK, save_yolo
from tuner.mannequin.render import random_figure
from tuner.mannequin.scene import random_scene
from tuner.storage import shipped

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def network(folder: Path, *classes: str, sees: str | None = None) -> torch.nn.Module:
    """An untrained network of the mannequin's shape that sees one of its classes everywhere."""
    description = folder / "network.yaml"
    description.write_text(yaml.safe_dump(NETWORK | {"nc": len(classes)}))
    with _contained():
        from ultralytics import YOLO

        made: Any = YOLO(description, task="detect", verbose=False).model
    made.names = dict(enumerate(classes))
    head = made.model[-1]
    for level in head.cv3:
        level[-1].bias.data[:] = torch.tensor([5.0 if name == sees else -9.0 for name in classes])
    return made  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def yolo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yolo")
    save_yolo(network(folder, "person", sees="person"), folder)
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    def save(*classes: str, sees: str) -> Path:
        path = tmp_path / "detector.pt"
        torch.save({"model": network(tmp_path, *classes, sees=sees)}, path)
        return path

    return save


def test_persons_come_as_shares_of_the_picture_surest_first(yolo_folder: Path) -> None:
    found = PersonDetector(str(yolo_folder))(PICTURE)
    assert len(found) > 1
    sure = [person.confidence for person in found]
    assert sure == sorted(sure, reverse=True)
    assert all(0.35 <= each <= 1.0 for each in sure)
    for person in found:
        left, top, right, bottom = person.box
        assert 0.0 <= left < right <= 1.0
        assert 0.0 <= top < bottom <= 1.0


def test_pictures_of_several_sizes_are_found_what_each_is_found_alone(yolo_folder: Path) -> None:
    detector = PersonDetector(str(yolo_folder))
    wide = np.random.default_rng(1).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    pictures = [PICTURE, wide, np.ascontiguousarray(PICTURE[::-1])]
    shapes: list[torch.Size] = []
    first: torch.nn.Module = detector._detector.predictor.model.model.model[0]
    first.register_forward_pre_hook(lambda module, given: shapes.append(given[0].shape))
    together = detector.find(pictures)
    assert sorted(shapes) == [(1, 3, 128, 192), (2, 3, 192, 192)]
    for picture, found in zip(pictures, together, strict=True):
        alone = detector(picture)
        assert len(found) == len(alone) > 1
        for one, other in zip(found, alone, strict=True):
            assert one.box == pytest.approx(other.box, abs=1e-4)
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
    assert detector.find([]) == []


@pytest.mark.parametrize(
    ("shape", "shown"), [((64, 64), (192, 192)), ((200, 100), (192, 96)), ((640, 1280), (320, 640))]
)
def test_the_network_sees_red_first_at_a_size_that_it_reads(
    yolo_folder: Path, shape: tuple[int, int], shown: tuple[int, int]
) -> None:
    detector = PersonDetector(str(yolo_folder))
    inputs: list[torch.Tensor] = []
    first: torch.nn.Module = detector._detector.predictor.model.model.model[0]
    first.register_forward_pre_hook(lambda module, given: inputs.append(given[0].clone()))
    red: Image = np.full((*shape, 3), (255, 0, 0), np.uint8)
    detector(red)
    assert tuple(inputs[0].shape[2:]) == shown
    assert inputs[0][0].mean(dim=(1, 2)).tolist() == [1.0, 0.0, 0.0]


def test_opening_and_looking_leave_the_process_as_it_was(yolo_folder: Path) -> None:
    def state() -> tuple[object, ...]:
        threads = torch.get_num_threads(), cv2.getNumThreads()
        return dict(os.environ), threads, np.get_printoptions(), torch.get_rng_state().tolist()

    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    before = state()
    PersonDetector(str(yolo_folder))(PICTURE)
    after = state()
    torch.set_num_threads(threads)
    assert after == before


_OPENED_IN_A_FRESH_PROCESS = """
import sys, cv2, torch, PIL.Image
functions = PIL.Image.open, torch.save, cv2.imread, cv2.imwrite
from metrics.detectors.yolo import PersonDetector
PersonDetector(sys.argv[1])
assert (PIL.Image.open, torch.save, cv2.imread, cv2.imwrite) == functions
"""


@pytest.mark.slow
def test_the_functions_of_other_libraries_are_put_back(yolo_folder: Path) -> None:
    # In a process of its own: ultralytics replaces them once, when it is imported.
    command = [sys.executable, "-c", _OPENED_IN_A_FRESH_PROCESS, str(yolo_folder)]
    subprocess.run(command, check=True)


def test_nothing_is_written_or_said(
    yolo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    PersonDetector(str(yolo_folder))(PICTURE)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("sees", "some"), [("person", True), ("dog", False)])
def test_a_checkpoint_s_other_classes_are_no_persons(
    checkpoint: Callable[..., Path], sees: str, some: bool
) -> None:
    detector = PersonDetector(str(checkpoint("dog", "person", sees=sees)))
    assert bool(detector(PICTURE)) == some


def test_a_checkpoint_without_persons_is_refused(checkpoint: Callable[..., Path]) -> None:
    with pytest.raises(ModelUnavailableError, match="knows no class person, only cat, dog"):
        PersonDetector(str(checkpoint("cat", "dog", sees="cat")))


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_s_code_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    with _contained():
        from ultralytics.nn import tasks

    # As where a program has imported ultralytics before, without asking for safe loading.
    monkeypatch.setattr(tasks, "SAFE_LOAD", False)
    path, content = tmp_path / "bad.pt", {"model": Payload(tmp_path / "ran")}
    torch.save(content, path) if zipped else path.write_bytes(pickle.dumps(content))
    with pytest.raises(ModelUnavailableError, match=r"bad\.pt could not be loaded") as caught:
        PersonDetector(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert tasks.SAFE_LOAD is False


@pytest.mark.parametrize("name", ["yolov8n.pt", "yolov8n", "https://example.org/yolov8n.pt"])
def test_what_is_not_there_is_not_fetched(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelUnavailableError, match=r"was not found; give a folder with"):
        PersonDetector(name)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "yolo.yaml").write_text("{}")
    with pytest.raises(ModelUnavailableError, match=r"lacks yolo\.safetensors$"):
        PersonDetector(str(tmp_path))


def test_weights_that_do_not_fill_their_network_are_refused(
    yolo_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "yolo.safetensors").write_bytes((yolo_folder / "yolo.safetensors").read_bytes())
    layers = NETWORK["backbone"]
    deeper = [layers[0], layers[1], [-1, 2, "C3k2", [32]], *layers[3:]]
    (tmp_path / "yolo.yaml").write_text(yaml.safe_dump(NETWORK | {"backbone": deeper}))
    with pytest.raises(ValueError, match="does not fit"), _contained():
        load_yolo(tmp_path)
    with pytest.raises(ModelUnavailableError, match="does not fit"):
        PersonDetector(str(tmp_path))


def test_the_detectors_open_it_where_it_is_set(yolo_folder: Path) -> None:
    detectors = Detectors(JudgeSettings(person_model=str(yolo_folder)))
    assert detectors.persons is not None
    assert detectors.persons(PICTURE)
    detectors.close()
    assert Detectors(JudgeSettings()).persons is None


@pytest.mark.slow
def test_the_shipped_detector_counts_the_figures_of_scenes() -> None:
    detector = PersonDetector(str(shipped.YOLO))
    scenes = [random_scene(np.random.default_rng([77, index])) for index in range(40)]
    right = [len(detector(image)) == len(boxes) for image, boxes in scenes]
    assert np.mean(right) >= 0.7


def test_the_shipped_detector_counts_one_on_figures_of_one() -> None:
    detector = PersonDetector(str(shipped.YOLO))
    rng = np.random.default_rng(5)
    counts = [len(detector(draw(random_figure(rng)))) for _ in range(40)]
    assert counts.count(1) >= 39
