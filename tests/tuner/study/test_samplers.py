"""Every sampler asks, learns and goes on after a break; conditions and priors are kept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import optuna
import pytest

from tuner.space import StudyConfig, load_study, to_yaml
from tuner.storage import StudyFolder
from tuner.study.memory.scalar import Copies, _on_numbers, strengths
from tuner.study.optuna_db import opened
from tuner.study.optuna_study import ask, complete, prune
from tuner.study.samplers import chosen_values, sampler_of, suggest

HEAD = "study: x\nbase: mannequin\ndata: mannequin\nbudget: {trials: 24, rungs: [5]}\n"
SPACE = """
objectives: [pose, gender]
train:
  rank: {choices: [4, 8, 16, 32]}
  learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
  empty_prompt: {low: 0.0, high: 0.4, step: 0.1}
"""


def config_of(tmp_path: Path, text: str, trials: int = 24) -> StudyConfig:
    path = tmp_path / "x.yaml"
    path.write_text(HEAD.replace("trials: 24", f"trials: {trials}") + text)
    return load_study(path)


def suggested(config: StudyConfig, folder: Path, trials: int) -> list[dict[str, object]]:
    """The parameters of `trials` more trials, of which low rates are the better ones."""
    study_folder = StudyFolder(folder)
    study_folder.create()
    found: list[dict[str, object]] = []
    with opened(config, study_folder, {}) as study:
        for _ in range(trials):
            trial = ask(study, config)
            train = suggest(trial, config)
            value = -math.log10(train.learning_rate) / 4
            complete(study, trial, (value, 1 - train.empty_prompt), {})
            found.append(dict(trial.params))
    return found


@pytest.mark.parametrize(
    "name",
    [
        "tpe",
        "tpe_strength",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("gp", "nsga2", "random")),
    ],
)
def test_a_study_that_was_stopped_asks_for_what_it_would_have_asked_for(
    tmp_path: Path, name: str
) -> None:
    config = config_of(tmp_path, SPACE + f"sampler: {name}\n")
    through = suggested(config, tmp_path / "through", 9)
    broken = suggested(config, tmp_path / "broken", 4) + suggested(config, tmp_path / "broken", 5)
    assert through == broken
    # A child of NSGA-II may be its parent again.
    assert len({str(one) for one in through}) >= (6 if name == "nsga2" else 9)


@pytest.mark.parametrize(
    "name", ["tpe", "tpe_strength", pytest.param("gp", marks=pytest.mark.slow)]
)
def test_a_sampler_that_learns_goes_where_it_is_good(tmp_path: Path, name: str) -> None:
    config = config_of(tmp_path, SPACE + f"sampler: {name}\n")
    rates = [float(one["learning_rate"]) for one in suggested(config, tmp_path / "s", 18)]  # type: ignore[arg-type]
    assert np.median(rates[-6:]) < 5e-4


def test_a_grid_visits_every_point_once(tmp_path: Path) -> None:
    text = """
objectives: [pose, gender]
sampler: grid
train:
  rank: {choices: [4, 8, 16]}
  learning_rate: 1.0e-3
  empty_prompt: {low: 0.0, high: 0.3, step: 0.1}
"""
    config = config_of(tmp_path, text, trials=12)
    points = suggested(config, tmp_path / "s", 5) + suggested(config, tmp_path / "s", 7)
    assert len({(one["rank"], round(float(one["empty_prompt"]), 6)) for one in points}) == 12  # type: ignore[arg-type]


def test_a_grid_that_cannot_be_listed_is_drawn_point_by_point(tmp_path: Path) -> None:
    text = "objectives: [pose]\nsampler: grid\ntrain:\n  seed: {low: 0, high: 999999999}\n"
    config = config_of(tmp_path, text + "  empty_prompt: {low: 0, high: 1, step: 1e-9}\n")
    points = [chosen_values(config, 0, number) for number in range(20)]
    assert points == [chosen_values(config, 0, number) for number in range(20)]
    assert len({point["seed"] for point in points}) == 20
    assert all(0 <= int(point["seed"]) < 10**9 for point in points)  # type: ignore[arg-type]
    other = chosen_values(config.model_copy(update={"seed": 1}), 0, 0)
    assert other != points[0]


def test_the_order_of_a_grid_stays_as_it_was(tmp_path: Path) -> None:
    text = "objectives: [pose]\nsampler: grid\ntrain:\n  rank: {choices: [4, 8, 16]}\n"
    config = config_of(tmp_path, text + "  batch_size: {low: 2, high: 8, step: 2}\n", trials=12)
    order = np.random.default_rng(config.seed).permutation(12)
    expected = [
        {"rank": [4, 8, 16][place // 4], "batch_size": 2 + 2 * (place % 4)} for place in order
    ]
    assert [chosen_values(config, 0, number) for number in range(12)] == expected


def test_a_condition_leaves_a_parameter_to_those_that_ask_for_it(tmp_path: Path) -> None:
    text = """
objectives: [pose, gender]
train:
  captions: {choices: [all, none]}
  shuffle_tags: {choices: [true, false]}
  tag_dropout: {low: 0.1, high: 0.5, when: {captions: all}}
"""
    config = config_of(tmp_path, text)
    found = suggested(config, tmp_path / "s", 10)
    assert {("tag_dropout" in one) == (one["captions"] == "all") for one in found} == {True}
    assert {one["captions"] for one in found} == {"all", "none"}
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(config))
    assert load_study(again) == config


def test_what_a_condition_leaves_out_has_its_default(tmp_path: Path) -> None:
    text = "train:\n  captions: {choices: [all, none]}\n"
    text += "  tag_dropout: {low: 0.1, high: 0.5, when: {captions: [all]}}\n"
    config = config_of(tmp_path, text)
    trial = optuna.trial.FixedTrial({"captions": "none"})
    trial.set_user_attr("first_try", 0)
    assert suggest(trial, config).tag_dropout == 0.0  # type: ignore[arg-type]


PRIOR = """
objectives: [pose, gender]
train:
  learning_rate: {low: 1.0e-5, high: 1.0e-1, log: true, prior: {centre: 1.0e-3, width: 2}}
  rank: {low: 4, high: 64, step: 4, prior: {centre: 32, width: 6}}
"""


def test_a_prior_is_what_the_first_trials_are_drawn_from(tmp_path: Path) -> None:
    config = config_of(tmp_path, PRIOR)
    drawn = [chosen_values(config, 0, number) for number in range(4)]
    # However many trials are random: a wrong prior costs no more than four.
    assert chosen_values(config, 0, 4) == {}
    assert chosen_values(config, 3, 6) != {}
    trials = suggested(config, tmp_path / "s", 5)
    assert trials[:4] == drawn
    many = [
        chosen_values(config.model_copy(update={"sampler": "random"}), 0, number)
        for number in range(300)
    ]
    logs = np.log([float(one["learning_rate"]) for one in many])  # type: ignore[arg-type]
    assert np.mean(logs) == pytest.approx(math.log(1e-3), abs=0.15)
    assert np.std(logs) == pytest.approx(math.log(2), abs=0.1)
    ranks = [one["rank"] for one in many]
    assert {int(rank) % 4 for rank in ranks} == {0}  # type: ignore[arg-type]
    assert np.mean(ranks) == pytest.approx(32, abs=2)  # type: ignore[arg-type]


def test_samplers_are_made_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    for name in ("tpe", "tpe_strength", "gp", "nsga2", "random"):
        sampler_of(config_of(tmp_path, SPACE + f"sampler: {name}\n"), 0, 3)
    assert not recwarn.list


def test_the_strength_is_less_by_what_a_trial_breaks(tmp_path: Path) -> None:
    config = config_of(tmp_path, SPACE + "sampler: tpe_strength\n")
    folder = StudyFolder(tmp_path / "study")
    folder.create()
    with opened(config, folder, {}) as study:
        for end in ("complete", "over its limit", "behind", "pruned", "running"):
            trial = ask(study, config, beside=True)
            suggest(trial, config)
            if end == "pruned":
                prune(study, trial, "collapsed")
            elif end != "running":
                over = {"undressed_rate": 0.1 if end == "over its limit" else -0.05}
                behind = 0.25 if end == "behind" else 0.0
                complete(study, trial, (0.9, 0.4), over, behind=behind)
        asked = study.ask()
        single = _on_numbers(study, study.trials[asked.number], strengths, Copies())
    numbers = [trial.value for trial in single.trials]
    assert numbers[:4] == pytest.approx([0.6, 0.5, 0.35, -1.0])
    assert [trial.state.name for trial in single.trials[4:]] == ["RUNNING"]
    assert [trial.params for trial in single.trials] == [trial.params for trial in study.trials[:5]]
