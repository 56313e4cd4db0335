from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from metrics.contract import (
    NO_TRAITS,
    SET_OBJECTIVES,
    Features,
    Framing,
    Measure,
    Prompt,
    Sample,
    Score,
    ScoredSample,
)
from metrics.sets.measures import NAMES, as_objective, measures

EMPTY = np.zeros((1, 1, 3), np.uint8)


def one(
    seed: int = 0,
    framing: Framing | None = None,
    given: float | None = None,
    fit: float | None = None,
) -> ScoredSample:
    """A sample with scores of framing and prompt fit, and features that its seed decides."""
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=8)
    features = Features(
        "full",
        rng.random((8, 8, 3)).astype(np.float16),
        np.array([0.3, 0.1, 0.7, 0.9], np.float16),
        rng.random((13, 2)).astype(np.float16),
        (embedding / np.linalg.norm(embedding)).astype(np.float16),
    )
    scores: Mapping[str, Score] = {
        "framing_given": Score(
            "framing_given", given, None if given is not None else "no pose read"
        ),
        "prompt_fit": Score("prompt_fit", fit, None if fit is not None else NO_TRAITS),
    }
    return ScoredSample(Sample(Prompt("1girl", "female", framing), seed, EMPTY), scores, features)


def test_framing_is_the_lower_of_the_two_shares() -> None:
    suite = [one(i, "full", 1.0) for i in range(8)] + [
        one(i, "half", float(i < 2)) for i in range(8)
    ]
    found = measures(suite, suite)["framing"]
    assert found.value == pytest.approx(0.25)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.15
    assert 0.45 < found.high < 0.75
    assert (found.n, found.total) == (16, 16)


def test_fewer_judged_figures_than_the_bases_cost_framing_in_proportion() -> None:
    base = [one(i, "full", 1.0) for i in range(8)]
    lost = [one(i, "full", 1.0 if i < 4 else None) for i in range(8)]
    assert measures(lost, base)["framing"].value == pytest.approx(0.5)
    none = [one(i, "full", None) for i in range(8)]
    assert measures(none, base)["framing"].value == 0.0
    assert measures(base, none)["framing"].note == "no sample could be judged"


def test_prompts_that_name_no_trait_are_not_asked_about() -> None:
    suite = [one(i, fit=0.5) for i in range(4)] + [one(i) for i in range(6)]
    found = measures(suite, suite)["prompt_fit"]
    assert (found.value, found.n, found.total) == (0.5, 4, 4)
    bare = [one(i) for i in range(6)]
    assert measures(bare, bare)["prompt_fit"].note == "no prompt names a trait that is asked about"


def test_without_a_base_or_a_reference_the_measures_say_so() -> None:
    suite = [one(i, "full", 1.0) for i in range(6)]
    alone = measures(suite, None)
    assert tuple(alone) == NAMES
    assert alone["framing"].value == 1.0
    for name in ("layout", "diversity", "likeness", "effect"):
        assert alone[name].note == "there is no base to compare with"
    beside = measures(suite, suite)
    assert beside["layout"].note == "there is no reference: no held-out pictures, no other base"
    assert beside["diversity"].value == 1.0
    assert beside["effect"].value == 0.0


def test_empty_suites_and_samples_from_before_have_no_numbers() -> None:
    for found in measures([], []).values():
        assert (found.value, found.low, found.high) == (None, None, None)
        assert found.note
    old = [ScoredSample(Sample(Prompt("1girl", "female", "full"), 0, EMPTY), {})]
    for name, found in measures(old, old, [one(i) for i in range(9)]).items():
        assert found.value is None, name
        assert found.note


def test_every_number_lies_in_its_interval_and_is_the_same_again() -> None:
    base, now = [one(i, "full", 1.0, 0.5) for i in range(8)], [one(i) for i in range(8)]
    now = [
        ScoredSample(b.sample, b.scores, n.features) for b, n in zip(base, now[::-1], strict=True)
    ]
    reference = [one(100 + i) for i in range(10)]
    found, again = (measures(now, base, reference) for _ in range(2))
    assert found == again
    for name in found:
        measure = found[name]
        if measure.value is not None:
            assert measure.low is not None
            assert measure.high is not None
            assert measure.low <= measure.value <= measure.high


def test_a_measure_with_a_value_is_an_objective() -> None:
    assert set(SET_OBJECTIVES) == set(NAMES) - {"effect", "one_face"}
    whole = as_objective(Measure("layout", 0.5, 0.25, 0.75, 6, 8))
    assert whole is not None
    assert (whole.name, whole.value, whole.low, whole.high, whole.n, whole.total) == (
        "layout",
        0.5,
        0.25,
        0.75,
        6,
        8,
    )
    assert as_objective(Measure("layout", None, None, None, 0, 8, "why")) is None
