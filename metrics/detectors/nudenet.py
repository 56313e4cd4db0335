"""NudeNet: which exposed parts a picture shows. The network comes inside NudeNet's own wheel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nudenet
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from nudenet import NudeDetector

from metrics.contract import Image

_MODEL = Path(nudenet.__file__).with_name("320n.onnx")


class PartDetector:
    """Finds body parts, exposed and covered, in NudeNet's 18 classes."""

    def __init__(self) -> None:
        """Loads the network from NudeNet's wheel."""
        self._detector = NudeDetector()
        # NudeNet takes every core for a network this small, beside training: one is as fast.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._detector.onnx_session = onnxruntime.InferenceSession(
            str(_MODEL), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, image: Image) -> Mapping[str, float]:
        """Returns the highest score, 0.2 to 1, of each class found, by class name."""
        # NudeNet swaps red and blue twice, so its network sees an array as it is. Fed from a file
        # it sees blue first, and is less sure of the same faces and feet than with red first.
        found = self._detector.detect(np.ascontiguousarray(image))
        best: dict[str, float] = {}
        for part in found:
            best[part["class"]] = max(best.get(part["class"], 0.0), float(part["score"]))
        return best

    def close(self) -> None:
        """Drops the session."""
        del self._detector
