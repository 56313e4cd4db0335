"""NudeNet: which exposed parts a picture shows. The network comes inside NudeNet's own wheel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nudenet
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from nudenet import NudeDetector

from metrics.contract import Image

_MODEL = Path(nudenet.__file__).with_name("320n.onnx")
_LEAST = 0.2
"""NudeNet's own limit of a score that counts at all."""


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
        session = onnxruntime.InferenceSession(
            str(_MODEL), options, providers=["CPUExecutionProvider"]
        )
        self._detector.onnx_session = _Likely(session)

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


class _Likely:
    """A session whose answer keeps only the places where a class has a score that counts.

    NudeNet goes through all 2100 places in Python, a fifth of its time, to pass over the others.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    def run(self, outputs: None, feed: Mapping[str, Any]) -> list[Any]:
        (found,) = self._session.run(outputs, feed)  # (1, 4 + classes, places)
        likely = found[0, 4:].max(axis=0) >= _LEAST
        likely[:2] = True  # NudeNet squeezes: with a single place its axes would be others
        return [found[:, :, likely]]
