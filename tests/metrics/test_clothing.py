from __future__ import annotations

from collections.abc import Callable

import numpy as np

from metrics import clothing
from metrics.contract import Image, Sample
from metrics.evidence import Evidence

Evidences = Callable[[Image], Evidence]
Rendered = Callable[..., list[Image]]


def test_dressed_is_told_from_undressed(
    evidence: Evidences, rendered: Rendered, sampled: Callable[..., Sample]
) -> None:
    shares = {
        clothed: [
            clothing.cloth_share(sampled(image), evidence(image)).value
            for image in rendered(60, 7, clothed=clothed)
        ]
        for clothed in (True, False)
    }
    assert all(value is not None for values in shares.values() for value in values)
    dressed, undressed = np.array(shares[True], float), np.array(shares[False], float)
    assert (dressed[:, None] > undressed[None]).mean() >= 0.98
    assert (dressed >= 0.5).mean() >= 0.97
    assert (undressed < 0.5).mean() >= 0.95


def test_a_featureless_body_shows_no_explicit_part(
    evidence: Evidences, rendered: Rendered, sampled: Callable[..., Sample]
) -> None:
    for image in rendered(20, 8, clothed=False):
        score = clothing.no_explicit_parts(sampled(image), evidence(image))
        assert score.value is not None
        assert score.value > 0.5


def test_no_figure_is_an_abstention(evidence: Evidences, sampled: Callable[..., Sample]) -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    assert clothing.cloth_share(sampled(image), evidence(image)).value is None
    assert clothing.no_explicit_parts(sampled(image), evidence(image)).value == 1.0
