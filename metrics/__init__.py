"""Automatic judges of generated pictures of people: images in, scores out.

    with open_detectors(JudgeSettings()) as detectors:
        scored = score(samples, detectors)
    metrics.objectives.objectives(scored, base=None)

Importing this package loads no network library: each network loads when a judge first needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from metrics.contract import JudgeSettings, Sample, ScoredSample

if TYPE_CHECKING:
    from metrics.detectors import Detectors

__all__ = ["JudgeSettings", "open_detectors", "score"]


@contextmanager
def open_detectors(settings: JudgeSettings) -> Iterator[Detectors]:
    """Open the networks behind the judges: each loads on first use, all close at the end.

    Scoring with them raises ModelUnavailableError when a model is missing.
    """
    from metrics.detectors import Detectors

    detectors = Detectors(settings)
    try:
        yield detectors
    finally:
        detectors.close()


def score(samples: Sequence[Sample], detectors: Detectors) -> list[ScoredSample]:
    """Return each sample with the score of every judge, in the order given.

    Raises ModelUnavailableError when a model is missing and cannot be fetched.
    """
    from metrics.scoring import score_samples

    return score_samples(samples, detectors)
