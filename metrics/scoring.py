"""The table of all judges. To add one, write its file and name it here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metrics.contract import JudgeSettings, Sample, ScoredSample
from metrics.detectors import Detectors
from metrics.evidence import Evidence, Judge
from metrics.judges import (
    adult,
    artefacts,
    clothing,
    framing,
    gender,
    limbs,
    people,
    pose,
    prompt_fit,
    red_eyes,
    sharpness,
)
from metrics.judges.optional import parsed_clothes, second_pose, vlm
from metrics.known_faces import read_faces, with_faces
from metrics.sets.features import read_features
from metrics.version import judge_version

JUDGES: tuple[Judge, ...] = (
    pose.JUDGE,
    limbs.JUDGE,
    people.JUDGE,
    gender.JUDGE,
    clothing.CLOTH_JUDGE,
    clothing.EXPLICIT_JUDGE,
    sharpness.JUDGE,
    artefacts.JUDGE,
    framing.JUDGE,
    prompt_fit.JUDGE,
    red_eyes.JUDGE,
    adult.JUDGE,
)

OPTIONAL_JUDGES: tuple[Judge, ...] = (second_pose.JUDGE, parsed_clothes.JUDGE, vlm.JUDGE)
"""Judges with a model of their own, which are left out where the settings do not name it."""


def judges_for(settings: JudgeSettings) -> tuple[Judge, ...]:
    """Return the judges that these settings use: all of JUDGES, and those whose model is named."""
    named = [
        judge
        for judge in OPTIONAL_JUDGES
        if all(getattr(settings, model) is not None for model in judge.models)
    ]
    return (*JUDGES, *named)


def score_samples(samples: Sequence[Sample], detectors: Detectors) -> list[ScoredSample]:
    """Score every sample with each judge of `judges_for`, in order; a detector runs once.

    The measurements that judges share are kept as the sample's features.
    """
    return [_score_sample(sample, detectors) for sample in samples]


def _score_sample(sample: Sample, detectors: Detectors) -> ScoredSample:
    evidence = Evidence(sample, detectors)
    domain = evidence.settings.domain
    scores = {
        judge.name: replace(judge.score(sample, evidence), version=judge_version(judge, domain))
        for judge in judges_for(evidence.settings)
    }
    features = with_faces(read_features(sample, evidence), read_faces(sample, evidence))
    return ScoredSample(sample, scores, features)


def with_features(sample: Sample, detectors: Detectors) -> ScoredSample:
    """Return the sample with its features and no scores, faces left out: one of a reference."""
    return ScoredSample(sample, {}, read_features(sample, Evidence(sample, detectors)))
