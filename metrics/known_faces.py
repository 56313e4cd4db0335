"""The faces of a sample, as they are kept to tell whose they are.

They are no judge's: who is right is known only beside the photographs of the person
(metrics.sets.identity).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metrics.contract import Features, JudgeSettings, Sample
from metrics.detectors.identity import KnownFaces, face_embedder
from metrics.evidence import Evidence

DRAWN = "drawn faces carry no identity"
NO_MODEL = "no model tells faces apart: install tuner[identity], or set judges.identity_model"
NO_FACES = "the networks that find faces cannot be had"


def reason_unread(settings: JudgeSettings) -> str | None:
    """Return why these settings do not have faces told apart; None if they have."""
    if settings.domain == "drawn":
        return DRAWN
    return NO_MODEL if settings.identity_model is None else None


def read_faces(sample: Sample, evidence: Evidence) -> KnownFaces | None:
    """Return the number of a sample's faces, and the vector of the largest one.

    None where the settings do not have faces told apart, and where no networks that find them can
    be had. Raises ModelUnavailableError for a model that cannot be opened.
    """
    model = evidence.settings.identity_model
    if model is None or reason_unread(evidence.settings) is not None:
        return None
    embedder = face_embedder(model)
    if embedder.finds_faces:
        return embedder(sample.image, ())
    return embedder(sample.image, evidence.faces) if evidence.reads_faces else None


def with_faces(features: Features, known: KnownFaces | None) -> Features:
    """Return the features with the faces; `known` is None where none were looked for."""
    if known is None:
        return features
    vector = None if known.vector is None else known.vector.astype(np.float16)
    return replace(features, faces=known.count, face=vector)
