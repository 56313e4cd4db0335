"""The table of all judges. To add one, write its file and name it here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metrics.contract import BATCH, JudgeSettings, Sample, ScoredSample
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

    The measurements that judges share are kept as the sample's features. Scores do not depend on
    the samples beside them but for rounding.
    """
    scored: list[ScoredSample] = []
    for start in range(0, len(samples), BATCH):
        batch = [(each, Evidence(each, detectors)) for each in samples[start : start + BATCH]]
        if len(batch) > 1:
            _look_together(batch, detectors)
        while batch:  # what is kept of a large picture goes once it is scored
            scored.append(_score_sample(*batch.pop(0)))
    return scored


def _look_together(batch: Sequence[tuple[Sample, Evidence]], detectors: Detectors) -> None:
    """Have the detectors that gain by it see some samples together: YOLO and open_clip."""
    evidences = [evidence for _, evidence in batch]
    if (detector := detectors.persons) is not None:
        found = detector.find([sample.image for sample, _ in batch])
        for evidence, persons in zip(evidences, found, strict=True):
            evidence.persons = persons
    _embed_figures(evidences, detectors)


def _embed_figures(evidences: Sequence[Evidence], detectors: Detectors) -> None:
    """Embed the main figures of some samples, where an open_clip model is set."""
    if detectors.settings.gender_model is None:
        return
    found = [(each, crop) for each in evidences if (crop := each.person_crop) is not None]
    if not found or (classifier := detectors.zero_shot) is None:
        return
    import torch

    rows = torch.from_numpy(classifier.embed_pictures([crop for _, crop in found]))
    if torch.cuda.is_available():  # where the classifier is, too
        rows = rows.cuda()
    for row, (evidence, _) in zip(rows, found, strict=True):
        evidence.embedding = row[None]


def _score_sample(sample: Sample, evidence: Evidence) -> ScoredSample:
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
