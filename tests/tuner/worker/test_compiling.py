from __future__ import annotations

from pathlib import Path

import pytest

from tuner.space import StudyConfig, load_study, space_hash
from tuner.worker.compiling import compile_plan, forms

POSE = Path(__file__).parents[3] / "search_spaces" / "pose_sd15.yaml"


def study(*settings: str) -> StudyConfig:
    """A study of 52 samples a trial and, without `settings`, one form."""
    fixed = ("train.rank=16", "train.resolution=512", "budget.rungs=[100, 500]")
    return load_study(POSE, set_values=(*fixed, *settings))


def test_auto_compiles_on_a_gpu_where_the_samples_of_a_worker_save_twice_the_cost() -> None:
    long, short = study("budget.trials=97"), study("budget.trials=96")
    assert (forms(long), long.compile, long.suite.samples) == (1, "auto", 52)
    # 97 x 52 samples save 202 s, twice the 100 s of the only form.
    plan = compile_plan(long, gpu=True, workers=1)
    assert plan.compiles
    assert "5044 samples a worker" in plan.line
    assert not compile_plan(short, gpu=True, workers=1).compiles
    assert not compile_plan(long, gpu=True, workers=2).compiles
    assert not compile_plan(long, gpu=False, workers=1).compiles
    assert compile_plan(long, gpu=False, workers=1).line == ""


def test_auto_compiles_few_forms_only() -> None:
    few = study("budget.trials=200", "train.rank={choices: [4, 8]}")
    many = study("budget.trials=200", "train.rank={low: 4, high: 64}")
    assert (forms(few), forms(many)) == (2, 61)
    assert compile_plan(few, gpu=True, workers=1).compiles
    assert not compile_plan(many, gpu=True, workers=1).compiles
    # A learning rate changes no computation, and there are no more forms than trials.
    assert forms(study("train.learning_rate={low: 1e-5, high: 1e-3}")) == 1
    assert forms(study("budget.trials=3", "train.rank={low: 4, high: 64}")) == 3


def test_auto_leaves_a_small_base_as_it_is() -> None:
    small = load_study(
        POSE.with_name("pose.yaml"), set_values=["budget.trials=9999", "train.rank=4"]
    )
    assert not compile_plan(small, gpu=True, workers=1).compiles


def test_dreambooth_is_not_compiled() -> None:
    dreambooth = study("budget.trials=200", "train.method=dreambooth")
    assert not compile_plan(dreambooth, gpu=True, workers=1).compiles


@pytest.mark.parametrize("gpu", [True, False])
def test_a_chosen_value_holds_everywhere(gpu: bool) -> None:
    assert compile_plan(study("compile=always", "budget.trials=1"), gpu, 1).compiles
    assert not compile_plan(study("compile=never", "budget.trials=1000"), gpu, 1).compiles


def test_compiling_does_not_change_what_a_study_is() -> None:
    assert space_hash(study("compile=always")) == space_hash(study())
