"""Verdicts: Student's t by its definition, Holm by a worked case, and the rule for each claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tuner.results.verdicts import Runs, SeedDifference, compare, decide, difference, holm, overall
from tuner.space.recipes import BASE, Expected, Hypothesis


def hypothesis(number: int = 1, against: str = "b", decides: bool = True) -> Hypothesis:
    return Hypothesis(
        number=number,
        claim="a beats b",
        arm="a",
        against=against,
        measure="pose_bare",
        expected="higher",
        decides=decides,
    )


def runs(**values: list[float]) -> Runs:
    return {
        (name, None): {seed: {"pose_bare": value} for seed, value in enumerate(of)}
        for name, of in values.items()
    }


def test_a_difference_is_that_of_scipys_t_test() -> None:
    values = [0.11, 0.04, 0.09, 0.02, 0.13]
    theirs = stats.ttest_1samp(values, 0)
    low, high = theirs.confidence_interval()
    ours = difference(values)
    assert (ours.value, ours.n) == (pytest.approx(0.078), 5)
    assert (ours.low, ours.high) == (pytest.approx(low), pytest.approx(high))
    assert ours.p == pytest.approx(theirs.pvalue)


def test_one_seed_shows_nothing_and_equal_differences_are_certain() -> None:
    assert difference([0.3]) == SeedDifference(0.3, -math.inf, math.inf, 1.0, 1)
    assert difference([0.0, 0.0]).p == 1
    assert difference([0.25, 0.25]).p == 0


def test_holms_correction_is_that_of_a_worked_case() -> None:
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04 no lower than the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_the_rate_of_any_false_alarm() -> None:
    rng = np.random.default_rng(0)
    wrong = sum(min(holm(rng.random(14))) < 0.05 for _ in range(2000)) / 2000
    assert 0.03 < wrong < 0.07


@pytest.mark.parametrize(
    ("expected", "low", "high", "p", "verdict"),
    [
        ("higher", 0.1, 0.3, 0.01, "supported"),
        ("higher", 0.1, 0.3, 0.06, "undecided"),
        ("higher", -0.3, -0.1, 0.01, "refuted"),
        ("higher", -0.04, 0.04, 1.0, "refuted"),
        ("higher", 0.01, 0.04, 0.001, "refuted"),  # there, and too small to matter
        ("higher", -0.04, 0.06, 1.0, "undecided"),
        ("lower", -0.3, -0.1, 0.01, "supported"),
        ("lower", 0.1, 0.3, 0.01, "refuted"),
        ("alike", -0.04, 0.04, 1.0, "supported"),
        ("alike", 0.1, 0.3, 0.01, "refuted"),
        ("alike", -0.04, 0.3, 0.3, "undecided"),
        ("not_higher", -0.3, 0.04, 0.5, "supported"),
        ("not_higher", 0.1, 0.3, 0.01, "refuted"),
        ("not_higher", -0.1, 0.2, 0.5, "undecided"),
        ("not_lower", -0.04, 0.3, 0.5, "supported"),
        ("not_lower", -0.3, -0.1, 0.01, "refuted"),
    ],
)
def test_the_rule(expected: Expected, low: float, high: float, p: float, verdict: str) -> None:
    apart = SeedDifference((low + high) / 2, low, high, p, 5)
    assert decide(expected, 0.05, apart, p) == verdict


def test_fewer_than_five_seeds_decide_nothing() -> None:
    assert decide("higher", 0.05, SeedDifference(0.2, 0.1, 0.3, 1e-4, 4), 1e-4) == "undecided"
    assert decide("higher", 0.05, None, 1.0) == "undecided"


def test_runs_are_paired_by_their_seed() -> None:
    of = {
        ("a", None): {seed: {"pose_bare": 0.8 + seed / 100} for seed in range(5)},
        ("b", None): {seed: {"pose_bare": 0.6 + seed / 100} for seed in (4, 2, 0, 1, 3)},
    }
    of["b", None][7] = {"pose_bare": 0.0}  # a run that `a` lacks
    of["a", None][8] = {"pose_bare": 0.0}
    of["a", None][7] = {"pose_bare": None}  # nothing could be judged
    (comparison,) = compare([hypothesis()], of)
    assert comparison.difference is not None
    assert comparison.difference.n == 5
    assert comparison.difference.low == pytest.approx(0.2)
    assert (comparison.arm, comparison.against) == (pytest.approx(0.82), pytest.approx(0.62))
    assert comparison.verdict == "supported"


def test_the_base_is_compared_with_every_seed() -> None:
    of = {**runs(a=[0.7, 0.8, 0.9, 0.8, 0.8]), (BASE, None): {-1: {"pose_bare": 0.5}}}
    (comparison,) = compare([hypothesis(against=BASE)], of)
    assert comparison.difference is not None
    assert comparison.difference.value == pytest.approx(0.3)
    assert comparison.difference.n == 5


def test_a_comparison_that_does_not_decide_is_not_corrected_for() -> None:
    values = runs(a=[0.7, 0.8, 0.9, 0.8, 0.8], b=[0.5, 0.55, 0.45, 0.5, 0.52])
    alone = compare([hypothesis()], values)[0]
    first, second = compare([hypothesis(), hypothesis(decides=False)], values)
    assert first == alone
    assert (second.holm, second.verdict) == (None, None)
    both = compare([hypothesis(), hypothesis(2)], values)
    assert both[0].holm == pytest.approx(2 * (alone.holm or 0))


def test_a_claim_needs_all_of_its_parts() -> None:
    values = runs(a=[0.7, 0.8, 0.9, 0.8, 0.8], b=[0.5, 0.55, 0.45, 0.5, 0.52])
    opposite = hypothesis().model_copy(update={"expected": "lower"})
    missing = hypothesis(2).model_copy(update={"against": "nobody"})
    assert overall(compare([hypothesis()], values)) == {1: "supported"}
    assert overall(compare([hypothesis(), opposite], values)) == {1: "refuted"}
    assert overall(compare([hypothesis(2), missing], values)) == {2: "undecided"}
