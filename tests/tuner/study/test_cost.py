"""The cost of a study: it grows with what costs, and is the measured one of the small world."""

from __future__ import annotations

import pytest

from tuner.space import load_study
from tuner.space.templates import shipped_spaces
from tuner.study.cost import estimate


@pytest.mark.parametrize(
    ("setting", "seconds", "disk", "memory"),
    [
        ("budget.trials=24", True, True, False),
        ("budget.rungs=[100, 200, 300]", True, True, False),
        ("budget.confirm=3", True, True, False),
        ("suite.seeds=8", True, True, False),
        ("suite.steps=40", True, False, False),
        ("train.rank=256", False, True, False),
        ("train.batch_size=32", True, False, True),
        ("train.resolution=128", True, False, True),
        ("train.steps=900", True, True, False),
        ("train.gradient_accumulation=2", True, False, False),
        ("train.target_modules=attention+feed_forward", False, True, False),
        ("train.method=dreambooth", False, True, True),
        ("budget.keep=0.5", False, False, False),
        ("suite.also_at=[train, 96]", True, True, False),
    ],
)
def test_the_estimate_grows_with_what_costs(
    setting: str, seconds: bool, disk: bool, memory: bool
) -> None:
    space = shipped_spaces()["pose"]
    less, more = estimate(load_study(space)), estimate(load_study(space, set_values=[setting]))
    assert (more.seconds > less.seconds) == seconds
    assert (more.disk_bytes > less.disk_bytes) == disk
    assert (more.vram_bytes > less.vram_bytes) == memory


def test_the_estimate_of_the_small_world_is_the_measured_one() -> None:
    settings = ["train.resolution=64", "budget.rungs=[100]", "budget.trials=1"]
    cost = estimate(load_study(shipped_spaces()["pose"], set_values=settings))
    # Loading, the base's suite, 100 steps of 0.155 s, and one suite: 6.7 s drawn, 4.2 s judged.
    assert cost.seconds == pytest.approx(20 + 10.9 + 15.5 + 10.9)


def test_the_estimate_knows_what_rungs_save() -> None:
    space = shipped_spaces()["pose"]
    shape = ["train.resolution=64", "budget.rungs=[100, 300]", "budget.trials=13"]
    whole = estimate(load_study(space, set_values=shape))
    assert whole.kept_seconds == whole.seconds
    stopped = ["budget.keep=0.5", "budget.low_rung_seeds=2"]
    cost = estimate(load_study(space, set_values=shape + stopped))
    # A suite takes 10.9 s, the two seeds of four at the low rung half of it.
    low, last = 15.5 + 10.9 / 2, 31.0 + 10.9
    assert cost.seconds == pytest.approx(20 + 10.9 + 13 * (low + last))
    # Three are compared with too few, and of the ten others a half goes on.
    assert cost.kept_seconds == pytest.approx(20 + 10.9 + 13 * low + 8 * last)
