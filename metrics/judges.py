"""Every judge there is. To add one, write its file and name it here."""

from __future__ import annotations

from collections.abc import Sequence

from metrics import artefacts, clothing, gender, limbs, people, pose, sharpness
from metrics.contract import Judge, Sample, ScoredSample
from metrics.detectors import Detectors
from metrics.evidence import Evidence

JUDGES: tuple[Judge, ...] = (
    pose.JUDGE,
    limbs.JUDGE,
    people.JUDGE,
    gender.JUDGE,
    clothing.CLOTH_JUDGE,
    clothing.EXPLICIT_JUDGE,
    sharpness.JUDGE,
    artefacts.JUDGE,
)


def score_samples(samples: Sequence[Sample], detectors: Detectors) -> list[ScoredSample]:
    """Asks every judge of every sample, in order; each detector sees a sample once."""
    return [_score_sample(sample, detectors) for sample in samples]


def _score_sample(sample: Sample, detectors: Detectors) -> ScoredSample:
    evidence = Evidence(sample, detectors)
    return ScoredSample(sample, {judge.name: judge.score(sample, evidence) for judge in JUDGES})
