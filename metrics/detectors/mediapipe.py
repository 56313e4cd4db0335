"""MediaPipe's pose, hand and face networks: their results on one picture as plain arrays."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import mediapipe
import numpy as np
import numpy.typing as npt
from mediapipe.tasks.python import BaseOptions, vision

from metrics.contract import Image
from metrics.preprocess import Box, detector_picture

Floats = npt.NDArray[np.float32]

MAX_PEOPLE = 3
MAX_HANDS = 8


@dataclass(frozen=True)
class Person:
    """One figure that the pose landmarker reads.

    `joints` (33, 2): x and y as shares of the picture's width and height, outside 0 to 1 where the
    network extrapolates. `visibility` (33,): probability of being in the frame and not hidden.
    `mask` (H, W), values 0 to 1, at the size of the landmarker's input.
    """

    joints: Floats
    visibility: Floats
    mask: Floats

    @property
    def box(self) -> Box:
        """The figure's box: its mask, or its visible joints where the mask is empty."""
        rows = np.flatnonzero((self.mask > 0.5).any(axis=1))
        columns = np.flatnonzero((self.mask > 0.5).any(axis=0))
        if len(rows) and len(columns):
            height, width = self.mask.shape
            return (
                float(columns[0] / width),
                float(rows[0] / height),
                float((columns[-1] + 1) / width),
                float((rows[-1] + 1) / height),
            )
        visible = np.clip(self.joints[self.visibility > 0.5], 0.0, 1.0)
        points = visible if len(visible) else np.clip(self.joints, 0.0, 1.0)
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


@dataclass(frozen=True)
class Hand:
    """One hand: 21 landmarks (21, 2) as shares of the picture, and the palm detector's score."""

    joints: Floats
    score: float


@dataclass(frozen=True)
class FoundFace:
    """One face: six points (6, 2) as shares of the picture, and the detector's score, 0 to 1.

    The points are the eye at the left of an upright picture, the other eye, nose tip, mouth, ears.
    """

    points: Floats
    score: float


class PoseLandmarker:
    """Landmarker of poses, of up to three figures in a picture. Close it after use."""

    def __init__(self, model: Path) -> None:
        """Open `model`, a task bundle as metrics.detectors.models.fetch returns it."""
        options = vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.IMAGE,
            num_poses=MAX_PEOPLE,
            output_segmentation_masks=True,
        )
        with quiet_native():
            self._landmarker = vision.PoseLandmarker.create_from_options(options)
        self._logged = False

    def __call__(self, image: Image) -> tuple[Person, ...]:
        """Return the figures in the picture, surest first; an empty tuple if there are none."""
        # The graph logs once more when it first finds something.
        with nullcontext() if self._logged else quiet_native():
            result = self._landmarker.detect(_as_mediapipe(detector_picture(image)))
        self._logged = self._logged or bool(result.pose_landmarks)
        people = []
        for index, landmarks in enumerate(result.pose_landmarks):
            # The view points into memory that the next picture overwrites.
            mask = result.segmentation_masks[index].numpy_view().squeeze().copy()
            people.append(
                Person(
                    joints=np.array([(p.x, p.y) for p in landmarks], np.float32),
                    visibility=np.array([p.visibility for p in landmarks], np.float32),
                    mask=np.asarray(mask, np.float32),
                )
            )
        return tuple(people)

    def close(self) -> None:
        """Free the graph: left to the destructor, it prints errors at exit."""
        with quiet_native():
            self._landmarker.close()


class HandLandmarker:
    """Landmarker of up to eight hands in a picture. Close it after use."""

    def __init__(self, model: Path) -> None:
        """Open `model`, a task bundle as metrics.detectors.models.fetch returns it."""
        options = vision.HandLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(model)),
            running_mode=vision.RunningMode.IMAGE,
            num_hands=MAX_HANDS,
        )
        with quiet_native():
            self._landmarker = vision.HandLandmarker.create_from_options(options)
        self._logged = False

    def __call__(self, image: Image) -> tuple[Hand, ...]:
        """Return the hands in the picture; an empty tuple if there are none."""
        with nullcontext() if self._logged else quiet_native():
            result = self._landmarker.detect(_as_mediapipe(detector_picture(image)))
        self._logged = self._logged or bool(result.hand_landmarks)
        return tuple(
            Hand(
                joints=np.array([(p.x, p.y) for p in landmarks], np.float32),
                score=float(sides[0].score),
            )
            for landmarks, sides in zip(result.hand_landmarks, result.handedness, strict=True)
        )

    def close(self) -> None:
        """Free the graph: left to the destructor, it prints errors at exit."""
        with quiet_native():
            self._landmarker.close()


class FaceDetector:
    """Detector of faces of at least a given score. Close it after use."""

    def __init__(self, model: Path, least_score: float) -> None:
        """Open `model`, a task bundle as metrics.detectors.models.fetch returns it."""
        with zipfile.ZipFile(model) as archive:
            network = archive.read("face_detector.tflite")
        options = vision.FaceDetectorOptions(
            base_options=BaseOptions(model_asset_buffer=network),
            running_mode=vision.RunningMode.IMAGE,
            min_detection_confidence=least_score,
        )
        with quiet_native():
            self._detector = vision.FaceDetector.create_from_options(options)

    def __call__(self, image: Image) -> tuple[FoundFace, ...]:
        """Return the faces in the picture; an empty tuple if there are none."""
        with quiet_native():  # it logs on any picture whose memory is not aligned as it likes
            result = self._detector.detect(_as_mediapipe(detector_picture(image)))
        return tuple(
            FoundFace(
                points=np.array([(point.x, point.y) for point in face.keypoints], np.float32),
                score=float(face.categories[0].score),
            )
            for face in result.detections
        )

    def close(self) -> None:
        """Free the graph: left to the destructor, it prints errors at exit."""
        with quiet_native():
            self._detector.close()


@contextmanager
def quiet_native() -> Iterator[None]:
    """Discard what native code writes to stderr; Python errors still propagate.

    MediaPipe and TFLite log by file descriptor, past `sys.stderr` and past GLOG settings. Output of
    other threads to stderr is lost too, so keep the block short.
    """
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _as_mediapipe(image: Image) -> mediapipe.Image:
    return mediapipe.Image(
        image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image)
    )
