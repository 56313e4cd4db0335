"""The numbers kept of a sample to measure whole sets of samples.

No network runs again: the pose and the crop's embedding are those that the judges used.
"""

from __future__ import annotations

import numpy as np

from metrics.contract import Features, Halves, Image, Sample
from metrics.evidence import Evidence
from metrics.figure.figure import ARMS, LEGS, NOSE
from metrics.preprocess import block_means

JOINTS = (NOSE, *(j for limb in ARMS for j in limb), *(j for leg in LEGS for j in leg[:3]))
"""MediaPipe's numbers of the 13 joints that are kept: nose, arms, then legs, left before right."""

THUMBNAIL = 8
"""Blocks along a side: fewer than in a pixelated picture, so that nothing can be recognised."""


def read_features(sample: Sample, evidence: Evidence) -> Features:
    """Return the features of a sample, from the evidence that its judges used."""
    person, embedding = evidence.person, evidence.embedding
    return Features(
        framing=evidence.framing,
        thumbnail=thumbnail(sample.image),
        box=None if person is None else np.asarray(person.box, np.float16),
        joints=None if person is None else person.joints[list(JOINTS)].astype(np.float16),
        embedding=None
        if embedding is None
        else np.asarray(embedding[0].float().cpu().numpy(), np.float16),
    )


def thumbnail(image: Image) -> Halves:
    """Return the picture as the means of 8 x 8 blocks, RGB from 0 to 1."""
    return (block_means(image, THUMBNAIL) / 255).astype(np.float16)
