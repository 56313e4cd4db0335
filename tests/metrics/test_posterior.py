from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from metrics.contract import Objective, Prompt, Sample, Score, ScoredSample
from metrics.objectives import objectives, paired_difference
from metrics.posterior import DRAWS, Judged, draws, strength, strength_difference

UNSEEN = np.zeros((1, 1, 3), np.uint8)
NAMES = ("pose", "clothing")


def suite(sound: int, dressed: int, count: int = 40, read: int | None = None) -> Judged:
    """The first `sound` of `count` figures have their limbs, the last `dressed` their clothes."""
    scored = []
    for seed in range(count):
        readable = read is None or seed < read
        values = {
            "pose_readable": float(readable),
            "limbs": float(seed < sound),
            "one_person": 1.0,
            "cloth_share": (0.9 if seed >= count - dressed else 0.1) if readable else None,
            "no_explicit_parts": 1.0,
        }
        scores = {name: Score(name, value) for name, value in values.items()}
        scored.append(ScoredSample(Sample(Prompt("1girl"), seed, UNSEEN), scores))
    found = objectives([with_rest(one) for one in scored], None)
    return Judged([with_rest(one) for one in scored], found)


def with_rest(one: ScoredSample) -> ScoredSample:
    rest = {name: Score(name, 0.9) for name in ("gender", "sharp", "clean")}
    return replace(one, scores={**rest, **one.scores})


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_draws_are_those_of_jeffreys_posterior() -> None:
    found = draws("pose", suite(30, 40), None, rng())
    assert found.shape == (DRAWS,)
    assert found.mean() == pytest.approx(30.5 / 41, abs=0.005)
    assert found.std() == pytest.approx((30.5 * 10.5 / 41**2 / 42) ** 0.5, rel=0.05)


def test_what_could_not_be_judged_counts_against_it() -> None:
    base, half = suite(40, 40), suite(40, 40, read=20)
    assert draws("clothing", half, None, rng()).mean() > 0.95
    assert draws("clothing", half, base, rng()).mean() == pytest.approx(0.5, abs=0.05)
    # A share that is as large as the base's by chance alone is not known to be so.
    assert draws("clothing", base, base, rng()).std() > draws("clothing", base, None, rng()).std()


def test_a_measure_of_the_set_is_drawn_by_its_interval() -> None:
    values = {"layout": Objective("layout", 0.5, 0.402, 0.598, 40, 40)}
    found = draws("layout", Judged([], values), None, rng())
    assert found.std() == pytest.approx(0.05, rel=0.05)
    edge = {"layout": Objective("layout", 1.0, 0.9, 1.0, 40, 40)}
    assert draws("layout", Judged([], edge), None, rng()).max() <= 1


def test_strength_is_the_geometric_mean() -> None:
    assert strength(np.array([0.25, 1.0])) == pytest.approx(0.5)
    assert strength(np.array([0.0, 1.0])) == 0
    assert strength(np.array([[0.25, 0.36], [1.0, 1.0]])) == pytest.approx([0.5, 0.6])


def test_a_difference_is_that_of_the_strengths_and_turns_its_sign() -> None:
    ours, theirs = suite(36, 30), suite(20, 30)
    found = strength_difference(ours, theirs, NAMES, None)
    values = [
        strength(np.array([side.objectives[name].value for name in NAMES]))
        for side in (ours, theirs)
    ]
    assert found.value == pytest.approx(values[0] - values[1])
    assert found.low > 0
    assert found.pairs == 40
    back = strength_difference(theirs, ours, NAMES, None)
    assert back.value == -found.value
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), abs=0.01)


def test_of_one_objective_it_is_the_paired_difference() -> None:
    ours, theirs = suite(36, 30), suite(20, 30)
    one = strength_difference(ours, theirs, ("pose",), None)
    known = paired_difference(ours.scored, theirs.scored, "pose")
    assert (one.value, one.low, one.high) == pytest.approx(
        (known.value, known.low, known.high), abs=0.01
    )


def test_pairing_makes_it_sharper_and_agreement_is_no_certainty() -> None:
    same = strength_difference(suite(30, 40), suite(30, 40), NAMES, None)
    assert same.value == 0
    assert same.low < 0 < same.high
    turned = suite(30, 40)
    mixed = Judged(
        [
            replace(one, scores=turned.scored[-1 - index].scores)
            for index, one in enumerate(turned.scored)
        ],
        turned.objectives,
    )
    apart = strength_difference(suite(30, 40), mixed, NAMES, None)
    assert apart.high - apart.low > 2 * (same.high - same.low)


def test_other_prompts_or_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="same prompts and seeds"):
        strength_difference(suite(30, 30), suite(30, 30, count=41), NAMES, None)
