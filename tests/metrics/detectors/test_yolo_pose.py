from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from metrics.detectors.models import ModelUnavailableError
from metrics.detectors.second_pose import open_pose_model
from metrics.detectors.yolo import _contained
from tuner.mannequin.building.train_yolo import NETWORK

PICTURE = np.random.default_rng(0).integers(0, 256, (300, 200, 3)).astype(np.uint8)
WHOLE = (0.0, 0.0, 1.0, 1.0)


def checkpoint(folder: Path, joints: int = 17, task: str = "pose") -> str:
    """A pose network of random weights that finds persons everywhere."""
    head = [*NETWORK["head"][:-1], [[15, 18, 21], 1, "Pose", ["nc", "kpt_shape"]]]
    shape = {"head": head, "kpt_shape": [joints, 3]} if task == "pose" else {}
    description = folder / "network.yaml"
    description.write_text(yaml.safe_dump(NETWORK | shape))
    torch.manual_seed(0)
    with _contained():
        from ultralytics import YOLO

        made: Any = YOLO(description, task=task, verbose=False).model
    made.names, made.task = {0: "person"}, task
    for level, bias in zip(made.model[-1].cv3, (-9.0, -9.0, 5.0), strict=True):
        level[-1].bias.data[:] = bias  # at the coarsest level only: the others have many places
    torch.save({"model": made}, folder / "network.pt")
    return str(folder / "network.pt")


def test_the_pose_is_that_of_the_box_that_overlaps_most(tmp_path: Path) -> None:
    network = open_pose_model(checkpoint(tmp_path))
    (result,) = network._detector.predict(  # type: ignore[attr-defined]
        np.ascontiguousarray(PICTURE[..., ::-1]), imgsz=640, conf=0.25, verbose=False, save=False
    )
    assert len(result.boxes) > 1
    place = len(result.boxes) - 1
    left, top, right, bottom = result.boxes.xyxyn[place].tolist()
    pose = network(np.asarray(PICTURE), (left, top, right, bottom))
    assert pose is not None
    assert pose.joints.shape == (17, 2)
    assert pose.joints == pytest.approx(result.keypoints.xyn[place].numpy(), abs=1e-5)
    assert pose.confidence == pytest.approx(result.keypoints.conf[place].numpy(), abs=1e-5)
    assert network(PICTURE, (0.0, 0.0, 1e-3, 1e-3)) is None


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ({"joints": 5}, "reads 5 joints"),
        ({"task": "detect"}, "a model for the task detect, not for pose"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, kind: dict[str, Any], line: str) -> None:
    with pytest.raises(ModelUnavailableError, match=line):
        open_pose_model(checkpoint(tmp_path, **kind))


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_a_pickle_s_code_never_runs(tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(pickle.dumps({"model": Payload(tmp_path / "ran")}))
    with pytest.raises(ModelUnavailableError, match=r"bad\.pt could not be loaded"):
        open_pose_model(str(path))
    assert not (tmp_path / "ran").exists()


def test_what_is_not_there_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelUnavailableError, match="was not found"):
        open_pose_model("yolo11n-pose.pt")
    assert not list(tmp_path.iterdir())
