"""A second network for poses, which the user names: a ViTPose, or a pose model of ultralytics.

Both give the 17 joints of COCO. Two networks of different kinds, trained on different pictures,
rarely make the same mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from metrics.contract import Image
from metrics.detectors.hub_model import device, load_network
from metrics.detectors.models import ModelUnavailableError
from metrics.preprocess import Box, detector_picture, overlap

Floats = npt.NDArray[np.float32]

JOINTS = 17
CHECKPOINT = ".pt"
SAME = 0.4
"""IoU of two boxes from which they show the same person, as for figures and persons."""
_KIND = "pose model"
_CONFIDENCE = 0.25
"""Least confidence of a person, ultralytics' own: persons beside the main figure do not count."""
_SIDE = 640
"""Side in pixels of the input of ultralytics' pose models."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """The 17 joints of COCO of one person.

    `joints` (17, 2): x and y as shares of the picture's width and height; `confidence` (17,), about
    0 to 1.
    """

    joints: Floats
    confidence: Floats


class PoseModel(Protocol):
    """A network that reads the pose of the person in a box."""

    def __call__(self, image: Image, box: Box) -> Skeleton | None:
        """Return the pose of the person in `box`; None where the network finds nobody there."""

    def close(self) -> None:
        """Release the network."""


def open_pose_model(model: str) -> PoseModel:
    """Return the network: a `.pt` file of ultralytics, else a ViTPose by hub id or folder.

    Raises ModelUnavailableError if it is missing, cannot be fetched or has other joints.
    """
    return YoloPose(model) if Path(model).suffix == CHECKPOINT else VitPose(model)


class VitPose:
    """ViTPose (Xu et al. 2022) of transformers: heatmaps of the joints in a given box."""

    def __init__(self, model: str) -> None:
        """Load the model. Raises ModelUnavailableError if it cannot be used."""
        from transformers import AutoImageProcessor, VitPoseForPoseEstimation

        self._network, self._prepare = load_network(
            _KIND, model, VitPoseForPoseEstimation, AutoImageProcessor
        )
        _require_joints(model, int(self._network.config.num_labels))
        # The first expert of a ViTPose++ is the one of COCO.
        experts = getattr(self._network.config.backbone_config, "num_experts", 1)
        index = {"dataset_index": torch.zeros(1, dtype=torch.long, device=device())}
        self._expert: dict[str, torch.Tensor] = index if experts > 1 else {}

    def __call__(self, image: Image, box: Box) -> Skeleton:
        """Return the pose of the person in `box`."""
        picture = detector_picture(image)
        height, width = picture.shape[:2]
        left, top, right, bottom = box
        size = ((right - left) * width, (bottom - top) * height)
        boxes = [[[left * width, top * height, *(max(1.0, side) for side in size)]]]
        pixels = self._prepare(picture, boxes=boxes, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            outputs: Any = self._network(pixels.to(device()), **self._expert)
        ((person,),) = self._prepare.post_process_pose_estimation(outputs, boxes)
        joints = person["keypoints"].numpy() / (width, height)
        return Skeleton(joints.astype(np.float32), person["scores"].numpy().astype(np.float32))

    def close(self) -> None:
        """Release the weights."""
        del self._network


class YoloPose:
    """A pose model of ultralytics, opened as safely as the person detector."""

    def __init__(self, model: str) -> None:
        """Load the file. Raises ModelUnavailableError if it cannot be used."""
        from metrics.detectors.yolo import open_yolo

        path = Path(model).expanduser().absolute()
        if not path.is_file():
            raise ModelUnavailableError(f"{_KIND} {path} was not found; give a {CHECKPOINT} file")
        self._detector = open_yolo(path, _KIND)
        if self._detector.task != "pose":
            raise ModelUnavailableError(
                f"{_KIND} {model} is a model for the task {self._detector.task}, not for pose"
            )
        _require_joints(model, int(self._detector.model.model[-1].kpt_shape[0]))

    def __call__(self, image: Image, box: Box) -> Skeleton | None:
        """Return the pose of the person whose box overlaps `box` most; None below SAME."""
        picture = np.ascontiguousarray(detector_picture(image)[..., ::-1])  # it takes BGR
        (result,) = self._detector.predict(
            picture, imgsz=_SIDE, conf=_CONFIDENCE, device=device(), verbose=False, save=False
        )
        boxes: list[list[float]] = result.boxes.xyxyn.tolist()
        shared = [overlap((b[0], b[1], b[2], b[3]), box) for b in boxes]
        if not shared or max(shared) < SAME:
            return None
        place = int(np.argmax(shared))
        joints = result.keypoints.xyn[place].cpu().numpy()
        known = result.keypoints.conf
        sure = np.ones(JOINTS) if known is None else known[place].cpu().numpy()
        return Skeleton(joints.astype(np.float32), sure.astype(np.float32))

    def close(self) -> None:
        """Release the network."""
        del self._detector


def _require_joints(model: str, count: int) -> None:
    if count != JOINTS:
        raise ModelUnavailableError(
            f"{_KIND} {model} reads {count} joints; give a model of COCO's {JOINTS} joints"
        )
