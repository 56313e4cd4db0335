"""The networks behind the judges: opened on first use, shared, closed together.

Importing this package loads no network library; opening a detector does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from metrics.contract import Image, JudgeSettings
from metrics.detectors.models import ModelUnavailableError, fetch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from metrics.detectors.faces import FaceReader
    from metrics.detectors.human_parser import HumanParser
    from metrics.detectors.mediapipe import HandLandmarker, PoseLandmarker
    from metrics.detectors.nudenet import PartDetector
    from metrics.detectors.open_clip import ZeroShotClassifier
    from metrics.detectors.second_pose import PoseModel
    from metrics.detectors.vision_language import VisionLanguageModel
    from metrics.detectors.yolo import PersonDetector


class Detectors:
    """The detectors of one set of judges. Each property opens its network on first use.

    Opening raises ModelUnavailableError when a model is missing and cannot be
    fetched.
    """

    def __init__(self, settings: JudgeSettings) -> None:
        """Keep the settings; no network is opened yet."""
        self.settings = settings
        self._opened = ExitStack()

    @cached_property
    def pose(self) -> PoseLandmarker:
        """MediaPipe's pose landmarker."""
        from metrics.detectors.mediapipe import PoseLandmarker

        detector = PoseLandmarker(fetch("pose_landmarker"))
        self._opened.callback(detector.close)
        return detector

    @cached_property
    def hands(self) -> HandLandmarker:
        """MediaPipe's hand landmarker."""
        from metrics.detectors.mediapipe import HandLandmarker

        detector = HandLandmarker(fetch("hand_landmarker"))
        self._opened.callback(detector.close)
        return detector

    @cached_property
    def faces(self) -> FaceReader | None:
        """The reader of faces; None, with a warning, where its networks cannot be had."""
        from metrics.detectors.faces import FaceReader

        try:
            detector = FaceReader(fetch("face_detector"), fetch("face_attributes"))
        except ModelUnavailableError as error:
            warnings.warn(f"faces are not read: {error}", stacklevel=2)
            return None
        self._opened.callback(detector.close)
        return detector

    @cached_property
    def parts(self) -> PartDetector:
        """NudeNet."""
        from metrics.detectors.nudenet import PartDetector

        detector = PartDetector()
        self._opened.callback(detector.close)
        return detector

    @cached_property
    def zero_shot(self) -> ZeroShotClassifier | None:
        """The open_clip model of the settings, None where they name none."""
        if self.settings.gender_model is None:
            return None
        from metrics.detectors.open_clip import ZeroShotClassifier

        detector = ZeroShotClassifier(self.settings.gender_model)
        self._opened.callback(detector.close)
        return detector

    @cached_property
    def persons(self) -> PersonDetector | None:
        """The YOLO of the settings, None where they name none."""
        if self.settings.person_model is None:
            return None
        from metrics.detectors.yolo import PersonDetector

        detector = PersonDetector(self.settings.person_model)
        self._opened.callback(detector.close)
        return detector

    @cached_property
    def pose_model(self) -> PoseModel | None:
        """The second pose network of the settings, None where they name none."""
        if self.settings.pose_model is None:
            return None
        from metrics.detectors.second_pose import open_pose_model

        detector = open_pose_model(self.settings.pose_model)
        self._opened.callback(detector.close)
        return detector

    @cached_property
    def parser_model(self) -> HumanParser | None:
        """The human parser of the settings, None where they name none."""
        if self.settings.parser_model is None:
            return None
        from metrics.detectors.human_parser import HumanParser

        detector = HumanParser(self.settings.parser_model)
        self._opened.callback(detector.close)
        return detector

    @cached_property
    def vlm(self) -> VisionLanguageModel | None:
        """The vision-language model of the settings, None where they name none."""
        if self.settings.vlm is None:
            return None
        from metrics.detectors.vision_language import VisionLanguageModel

        detector = VisionLanguageModel(self.settings.vlm)
        self._opened.callback(detector.close)
        return detector

    @cached_property
    def embedding(self) -> Callable[[Sequence[Image]], npt.NDArray[np.float32]] | None:
        """Embedding of pictures, unit vectors (pictures, d), to find copies; None for no model."""
        if self.settings.copy_model is None:
            return None if self.zero_shot is None else self.zero_shot.embed_pictures
        from metrics.detectors.embedding import PictureEmbedding

        detector = PictureEmbedding(self.settings.copy_model)
        self._opened.callback(detector.close)
        return detector

    def close(self) -> None:
        """Close the opened networks, last first. The detectors cannot be used afterwards."""
        self._opened.close()
