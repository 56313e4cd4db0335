from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tuner.results.effects import difference_of_means, effects, is_numeric, rank_correlation


def trials(count: int, seed: int = 0) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "learning_rate": float(10 ** rng.uniform(-4, -2)),
            "rank": int(rng.choice([4, 8, 16, 32])),
            "captions": str(rng.choice(["all", "gender", "none"])),
            "alias": rng.choice([None, "mi_cv"]),
            "batch_size": 16,
        }
        for _ in range(count)
    ]


def test_a_planted_category_and_a_planted_peak_are_found() -> None:
    parameters, rng = trials(120), np.random.default_rng(1)
    values = [
        0.6
        + 0.10 * (own["captions"] == "gender")
        - 0.20 * (np.log10(own["learning_rate"]) + 3) ** 2  # type: ignore[call-overload]
        + rng.normal(0, 0.02)
        for own in parameters
    ]
    every = {effect.parameter: effect for effect in effects(parameters, values)}
    assert set(every) == {"learning_rate", "rank", "captions", "alias"}
    captions, rate = every["captions"], every["learning_rate"]
    assert captions.effect is not None
    assert captions.effect.words == "gender minus the rest"
    assert captions.effect.low < 0.10 < captions.effect.high
    assert captions.known
    assert rate.known
    # A peak in the middle is no trend: the share sees it, the rank correlation must not.
    assert rate.share is not None
    assert rate.effect is not None
    assert rate.share.low > 0
    assert rate.effect.low < 0 < rate.effect.high
    assert not every["alias"].known
    assert not every["rank"].known


@pytest.mark.slow
def test_without_any_effect_hardly_a_study_finds_one() -> None:
    rng = np.random.default_rng(2)
    false = sum(
        any(effect.known for effect in effects(trials(30, seed), rng.uniform(size=30)))
        for seed in range(120)
    )
    assert false <= 0.1 * 120


def test_few_trials_and_constant_objectives_give_no_effect() -> None:
    for parameters, values in ((trials(7), np.arange(7) / 7), (trials(30), np.full(30, 0.5))):
        every = effects(parameters, list(values))
        assert every
        assert all(
            effect.share is None and effect.effect is None and not effect.known for effect in every
        )
    assert effects([], []) == []


def test_a_parameter_that_settles_everything_has_a_share_near_one() -> None:
    parameters = [{"alias": ["a", "b"][i % 2]} for i in range(40)]
    (every,) = effects(parameters, [0.2 + 0.5 * (i % 2) + 0.001 * i for i in range(40)])
    assert every.share is not None
    assert every.share.value > 0.7
    assert every.share.low > 0.5
    assert every.effect is not None
    assert every.effect.words == "a minus b"
    assert every.effect.high < -0.45


def test_rank_correlation_covers_the_truth_as_often_as_it_says() -> None:
    rng, rho = np.random.default_rng(3), 0.6
    # Spearman's rho of a bivariate normal with Pearson's r (Kruskal 1958).
    truth = 6 / np.pi * np.arcsin(rho / 2)
    draws = [rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], 25) for _ in range(300)]
    every = [rank_correlation(pair[:, 0], pair[:, 1]) for pair in draws]
    hits = [interval is not None and interval.low <= truth <= interval.high for interval in every]
    assert 0.91 <= np.mean(hits) <= 0.98
    assert rank_correlation(np.arange(4.0), np.arange(4.0)) is None
    assert rank_correlation(np.arange(9.0), np.ones(9)) is None


def test_the_difference_of_means_is_welchs() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.uniform(0.5, 0.9, 9), rng.uniform(0.1, 0.3, 14)
    every = difference_of_means(a, b, "a minus b")
    assert every is not None
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert (every.low, every.high) == pytest.approx((low, high))
    assert difference_of_means(a[:2], b, "too few") is None
    assert difference_of_means(np.ones(5), np.zeros(5), "no spread") is None


@pytest.mark.parametrize(
    ("levels", "numeric"),
    [
        ([4, 8, 16], True),
        ([0.0, 0.2], False),
        ([512, "512x768", 640], False),
        ([True, False], False),
        ([None, 1, 2], False),
    ],
)
def test_numbers_with_an_order_are_not_choices(levels: list[object], numeric: bool) -> None:
    assert is_numeric(levels) == numeric


def test_a_parameter_that_some_trials_lack_is_measured_on_the_others() -> None:
    parameters: list[dict[str, object]] = [{"rank": 4 * (i % 3)} for i in range(10)]
    parameters += [{"rank": 4 * (i % 3), "new": i % 2} for i in range(10)]
    every = {
        effect.parameter: effect for effect in effects(parameters, list(np.linspace(0, 1, 20)))
    }
    assert every["new"].trials == 10
    assert every["rank"].trials == 20
