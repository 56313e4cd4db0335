"""The cost of a study: it grows with what costs, and is the measured one of the small world."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuner.mannequin.cost import COST
from tuner.space import load_study
from tuner.space.templates import shipped_spaces
from tuner.study.cost import estimate

LOSS = 64 * 6.7 / (52 * 20)
"""Seconds in which a run's loss is measured on its pictures."""


PLAIN = ["budget.keep=1.0", "budget.low_rung_seeds=null", "budget.confirm=0", "suite.steps=20"]
"""The shipped space without what it saves and confirms."""


@pytest.mark.parametrize(
    ("setting", "seconds", "disk", "memory"),
    [
        ("budget.trials=24", True, True, False),
        ("budget.rungs=[100, 200, 300]", True, True, False),
        ("budget.confirm=3", True, True, False),
        ("suite.seeds=8", True, True, False),
        ("suite.steps=40", True, False, False),
        ("train.rank=256", False, True, True),
        ("train.batch_size=32", True, False, True),
        ("train.resolution=128", True, False, True),
        ("train.steps=900", True, True, False),
        ("train.gradient_accumulation=2", True, False, False),
        ("train.target_modules=attention+feed_forward", False, True, True),
        ("train.method=dreambooth", False, True, True),
        ("budget.keep=0.5", False, False, False),
        ("suite.also_at=[train, 96]", True, True, False),
    ],
)
def test_the_estimate_grows_with_what_costs(
    setting: str, seconds: bool, disk: bool, memory: bool
) -> None:
    space = shipped_spaces()["pose"]
    less, more = (
        estimate(load_study(space, set_values=settings)) for settings in (PLAIN, [*PLAIN, setting])
    )
    assert (more.seconds > less.seconds) == seconds
    assert (more.disk_bytes > less.disk_bytes) == disk
    assert (more.vram_bytes > less.vram_bytes) == memory


def test_the_estimate_of_the_small_world_is_the_measured_one() -> None:
    settings = [*PLAIN, "train.resolution=64", "budget.rungs=[100]", "budget.trials=1"]
    cost = estimate(load_study(shipped_spaces()["pose"], set_values=settings))
    # Loading, the base's suite, 100 steps of 0.155 s, and one suite: 6.7 s drawn, 4.2 s judged.
    assert cost.seconds == pytest.approx(20 + 10.9 + 15.5 + 10.9 + LOSS)


def test_measured_units_and_workers_change_the_time_alone() -> None:
    shape = [*PLAIN, "train.resolution=64", "budget.rungs=[100]", "suite.steps=10"]
    config = load_study(shipped_spaces()["pose"], trials=5, set_values=shape)
    rough = estimate(config)
    units = replace(COST, train=0.01, sample=0.02, decode=0.1, score=0.05, load=10.0)
    suite, loss = 52 * (10 * 0.02 + 0.1 + 0.05), 64 * 0.02
    trial = 100 * 16 * 0.01 + suite + loss
    alone, two = estimate(config, units), estimate(config, units, workers=2)
    assert alone.seconds == pytest.approx(10 + suite + 5 * trial)
    # One of two makes three of the five trials; the other the base and two.
    assert two.seconds == pytest.approx(10 + 3 * trial)
    assert two.kept_seconds == pytest.approx(two.seconds)
    assert alone.disk_bytes == two.disk_bytes == rough.disk_bytes
    assert alone.vram_bytes == two.vram_bytes == rough.vram_bytes


def test_judges_beside_a_worker_cost_only_what_they_take_longer_than_drawing() -> None:
    shape = [*PLAIN, "train.resolution=64", "budget.rungs=[100]", "suite.steps=10"]
    config = load_study(shipped_spaces()["pose"], trials=1, set_values=shape)
    drawn = replace(COST, sample=0.02, decode=0.1, score=0.9)  # 0.3 s to draw a picture
    for judges, seconds in ((0, 1.2), (2, 0.45), (3, 0.3), (8, 0.3)):
        taken = estimate(config, replace(drawn, judges=judges)).seconds
        none = estimate(config, replace(drawn, score=0.0)).seconds
        assert taken - none == pytest.approx(2 * 52 * (seconds - 0.3))  # the base's and the trial's


def test_all_workers_wait_for_the_base_s_regularisation_pictures() -> None:
    shape = [*PLAIN, "train.resolution=64", "budget.rungs=[100]"]
    plain = load_study(shipped_spaces()["pose"], trials=2, set_values=shape)
    prior = plain.model_copy(update={"regularisation": "base"})
    suite, pictures = 10.9, 100 * 10.9 / 52
    trial = 15.5 + suite + LOSS
    for workers, alone in ((1, suite + 2 * trial), (2, suite + trial), (3, trial)):
        assert estimate(plain, None, workers).seconds == pytest.approx(20 + alone)
    for workers, trials in ((1, 2), (2, 1), (3, 1)):
        seconds = estimate(prior, None, workers).seconds
        assert seconds == pytest.approx(20 + suite + pictures + trials * trial)


def test_workers_share_a_confirmation() -> None:
    shape = [*PLAIN, "budget.confirm=1", "budget.confirm_repeats=1", "train.resolution=64"]
    config = load_study(shipped_spaces()["pose"], set_values=[*shape, "budget.rungs=[100]"])
    none = config.model_copy(update={"budget": config.budget.model_copy(update={"confirm": 0})})
    fresh, trained = 4 * 10.9, 15.5  # 208 samples are four suites
    for workers, more in ((1, 3 * fresh + trained), (2, 2 * fresh + trained), (3, fresh + trained)):
        cost, without = (estimate(each, None, workers) for each in (config, none))
        assert cost.seconds - without.seconds == pytest.approx(more)


def test_the_estimate_knows_what_rungs_save() -> None:
    space = shipped_spaces()["pose"]
    shape = [*PLAIN, "train.resolution=64", "budget.rungs=[100, 300]", "budget.trials=13"]
    whole = estimate(load_study(space, set_values=shape))
    assert whole.kept_seconds == whole.seconds
    stopped = ["budget.keep=0.5", "budget.low_rung_seeds=2"]
    cost = estimate(load_study(space, set_values=shape + stopped))
    # A suite takes 10.9 s, the two seeds of four at the low rung half of it.
    low, last = 15.5 + 10.9 / 2 + LOSS, 31.0 + 10.9 + LOSS
    assert cost.seconds == pytest.approx(20 + 10.9 + 13 * (low + last))
    # Three are compared with too few, and of the ten others a half goes on.
    assert cost.kept_seconds == pytest.approx(20 + 10.9 + 13 * low + 8 * last)
