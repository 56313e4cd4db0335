"""Scores of one sample, scored beside different others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metrics.contract import ScoredSample

IN_BATCHES = ("gender", "prompt_fit", "one_person")
"""Judges whose detectors see several samples together."""


def require_same_scores(found: ScoredSample, expected: ScoredSample) -> None:
    """Fail where the two differ by more than rounding, which depends on the samples beside it."""
    assert found.sample is expected.sample
    assert found.scores.keys() == expected.scores.keys()
    for name, score in found.scores.items():
        other = expected.scores[name]
        if name in IN_BATCHES:
            assert score.value == pytest.approx(other.value, abs=1e-4)
            assert score.evidence.keys() == other.evidence.keys()
            for key, value in other.evidence.items():
                assert score.evidence[key] == pytest.approx(value, abs=1e-4)
            score = replace(score, value=other.value, evidence=other.evidence)
        assert score == other
