"""NudeNet finds exposed parts in a picture. The network comes inside NudeNet's own wheel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nudenet
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from nudenet import NudeDetector

from metrics.contract import Image
from metrics.preprocess import Box, share_box

_MODEL = Path(nudenet.__file__).with_name("320n.onnx")
_LEAST = 0.2
"""NudeNet's own lower limit of a score."""


@dataclass(frozen=True)
class Part:
    """A body part: NudeNet's class, its score, 0.2 to 1, and its box as shares of the sides."""

    name: str
    score: float
    box: Box


class PartDetector:
    """Detector of body parts, exposed and covered, in NudeNet's 18 classes."""

    def __init__(self) -> None:
        """Load the network from NudeNet's wheel."""
        self._detector = NudeDetector()
        # NudeNet would take every core from training; for a network this small one is as fast.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            str(_MODEL), options, providers=["CPUExecutionProvider"]
        )
        self._detector.onnx_session = _LikelyPlaces(session)

    def __call__(self, image: Image) -> Mapping[str, float]:
        """Return the highest score, 0.2 to 1, of each class in the picture, by class name."""
        return best_scores(self.find(image))

    def find(self, image: Image) -> tuple[Part, ...]:
        """Return the parts in the picture, in NudeNet's order."""
        # NudeNet swaps red and blue twice, so its network gets an array unchanged. From a file
        # it gets blue first, and is less sure of the same faces and feet than with red first.
        parts = self._detector.detect(np.ascontiguousarray(image))
        return tuple(
            Part(part["class"], float(part["score"]), share_box(tuple(part["box"]), image.shape))
            for part in parts
        )

    def close(self) -> None:
        """Release the session."""
        del self._detector


def best_scores(parts: Iterable[Part]) -> Mapping[str, float]:
    """Return the highest score of each class among the parts, by class name."""
    best: dict[str, float] = {}
    for part in parts:
        best[part.name] = max(best.get(part.name, 0.0), part.score)
    return best


class _LikelyPlaces:
    """A session that returns only the places where a class reaches NudeNet's lowest score.

    NudeNet loops over all 2100 places in Python, a fifth of its time, to skip the others.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    def run(self, outputs: None, feed: Mapping[str, Any]) -> list[Any]:
        (scores,) = self._session.run(outputs, feed)  # (1, 4 + classes, places)
        likely = scores[0, 4:].max(axis=0) >= _LEAST
        likely[:2] = True  # NudeNet squeezes: a single place would lose an axis
        return [scores[:, :, likely]]
