"""Studies of recipes: how a file names them, the order of their runs, and what a break leaves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tuner.plain_trials import DATA, good, raising
from tuner.errors import ConfigError
from tuner.results.run_measures import run_measures
from tuner.space import StudyConfig, load_study, space_hash, to_yaml
from tuner.space.load import recipe_train
from tuner.space.recipes import MEASURES, count_runs, runs
from tuner.space.templates import shipped_spaces
from tuner.storage import Store, StudyFolder
from tuner.study.cost import estimate
from tuner.study.optuna_db import opened
from tuner.study.record import record_study
from tuner.study.study import Session, search, take_up
from tuner.trial.recipe import recipe_suite

SPACE = """
study: pose
base: mannequin
data: {matted: mannequin:matted, few: mannequin:few}
budget: {rungs: [10, 20]}
objectives: [pose, gender]
constraints: {undressed_rate: 0.15}
train: {rank: 8, data: matted}
training_seeds: 2
recipes:
  one: {captions: gender}
  two: {captions: all, alias: mi_cv, data: few, suite: {size: 96}}
  once: {rank: 4, alias: mi_cv, steps: 50, suite: {alias: false}, training_seeds: 1}
hypotheses:
  - {number: 1, claim: more, arm: one, against: two, measure: pose_bare, expected: higher}
  - {number: 2, claim: less, arm: once, against: once@20, measure: blur, expected: lower}
"""


def read(folder: Path, text: str = SPACE) -> StudyConfig:
    path = folder / "x.yaml"
    path.write_text(text)
    return load_study(path)


def test_a_recipe_is_the_studys_settings_with_its_own(tmp_path: Path) -> None:
    config = read(tmp_path)
    train = recipe_train(config, "two", 1)
    assert (train.rank, train.captions, train.alias, train.data) == (8, "all", "mi_cv", "few")
    assert train.seed == 1
    assert recipe_train(config, "once", 0).steps == 50
    assert set(config.tried("rank")) == {8, 4}


def test_a_recipe_with_an_alias_is_sampled_with_it_unless_it_says_no(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert recipe_suite(config, "one") == config.suite
    assert recipe_suite(config, "once") == config.suite
    two = recipe_suite(config, "two")
    assert two.image_size == (96, 96)
    assert [prompt.text for prompt in two.prompts] == [
        f"mi_cv, {p.text}" for p in config.suite.prompts
    ]


def test_runs_go_seed_by_seed_and_a_recipe_may_have_fewer(tmp_path: Path) -> None:
    config = read(tmp_path)
    expected = [("one", 0), ("two", 0), ("once", 0), ("one", 1), ("two", 1)]
    assert list(runs(config.recipes, config.training_seeds)) == expected
    assert count_runs(config.recipes, config.training_seeds) == len(expected)
    assert config.budget.trials == 5
    part = read(tmp_path, SPACE.replace("training_seeds: 2", "training_seeds: [1, 4]"))
    assert list(runs(part.recipes, part.training_seeds)) == [
        (n, s) for s in (1, 4) for n in ("one", "two")
    ]


def test_a_study_costs_what_its_recipes_cost(tmp_path: Path) -> None:
    config = read(tmp_path)
    whole = estimate(config)
    two = estimate(config.model_copy(update={"recipes": {"two": config.recipes["two"]}}))
    alone = estimate(config.model_copy(update={"recipes": {"one": config.recipes["one"]}}))
    assert two.seconds > alone.seconds  # of larger pictures
    rest = {name: config.recipes[name] for name in ("one", "once")}
    assert whole.seconds == pytest.approx(
        two.seconds + estimate(config.model_copy(update={"recipes": rest})).seconds
    )


def test_a_study_is_written_as_it_is_read(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert read(tmp_path, to_yaml(config)) == config


def test_more_seeds_and_other_claims_are_the_same_study(tmp_path: Path) -> None:
    config = read(tmp_path)
    more = read(tmp_path, SPACE.replace("training_seeds: 2", "training_seeds: 7"))
    assert space_hash(more) == space_hash(config)
    other = read(tmp_path, SPACE.replace("captions: gender", "captions: none"))
    assert space_hash(other) != space_hash(config)


def run_all(folder: StudyFolder, config: StudyConfig, run: object) -> None:
    folder.create()
    with opened(config, folder, DATA) as memory, Store(folder.results_db) as store:
        record_study(config, folder, store, DATA)
        session = Session(config, folder, memory, store)
        list(take_up(session))
        list(search(session, run))  # type: ignore[arg-type]


def done(folder: StudyFolder) -> list[tuple[object, object, str]]:
    with Store(folder.results_db) as store:
        rows = store.trials()
    return [(row.parameters["recipe"], row.parameters["training_seed"], row.state) for row in rows]


def test_every_run_is_done_once_also_after_a_break(tmp_path: Path) -> None:
    config, folder = read(tmp_path), StudyFolder(tmp_path / "pose")
    with pytest.raises(KeyboardInterrupt):
        run_all(folder, config, raising(folder, KeyboardInterrupt(), at=2))
    assert done(folder)[2] == ("once", 0, "interrupted")
    run_all(folder, config, good(folder))
    complete = [row[:2] for row in done(folder) if row[2] == "complete"]
    assert complete == [("one", 0), ("two", 0), ("once", 0), ("one", 1), ("two", 1)]


def test_a_run_that_failed_is_tried_again_and_more_seeds_go_on(tmp_path: Path) -> None:
    config, folder = read(tmp_path), StudyFolder(tmp_path / "pose")
    run_all(folder, config, raising(folder, RuntimeError("no luck"), at=1))
    states = done(folder)
    assert states[1] == ("two", 0, "failed")
    assert states[2] == ("two", 0, "complete")
    run_all(folder, read(tmp_path, SPACE.replace("seeds: 2", "seeds: 3", 1)), good(folder))
    assert {row[:2] for row in done(folder)} == {
        *((name, seed) for name in ("one", "two") for seed in range(3)),
        ("once", 0),
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("captions: gender}", "caption: gender}", "recipes.one.caption: unknown key"),
        ("captions: gender}", "rank: 0}", "recipes.one.rank: found 0, allowed"),
        ("captions: gender}", "rank: {choices: [4]}}", "recipes.one.rank: found {choices"),
        ("captions: gender}", "data: square}", "recipes.one.data: found 'square', allowed: one of"),
        ("captions: gender}", "resolution: 512}", "recipes.one.resolution: found 512, allowed: 32"),
        ("captions: gender}", "prior_weight: 1.0}", "the study has no regularisation pictures"),
        ("suite: {size: 96}", "suite: {size: 300}", "suite.size: found 300"),
        ("suite: {size: 96}", "suite: {steps: 5}", "recipes.two.suite.steps: unknown key"),
        ("  one:", "  base:", "recipes.base: found 'base', allowed: 1 to 64 characters"),
        ("rank: 8,", "rank: {choices: [4, 8]},", "train.rank: a study of recipes searches nothing"),
        ("training_seeds: 2\n", "", "recipes and training_seeds (such as 5) go together"),
        ("training_seeds: 2\n", "training_seeds: [2, 1]\n", "found [2, 1], allowed: a whole"),
        ("training_seeds: 2\n", "training_seeds: 0\n", "training_seeds: found 0, allowed"),
        ("{rungs: [10, 20]}", "{trials: 9, rungs: [10]}", "trials: found 9, allowed: at most 5"),
        ("{rungs: [10, 20]}", "{confirm: 1, rungs: [10]}", "confirm: a study of recipes has no"),
        ("arm: one,", "arm: three,", "hypotheses[0].arm: found 'three', allowed: the name"),
        ("once@20", "once@30", "hypotheses[1].against: found 'once@30', allowed: once or one of"),
        ("measure: blur", "measure: blurr", "[1].measure: found 'blurr', allowed: one of"),
        ("expected: lower", "expected: less", "hypotheses[1].expected: found 'less', allowed: hig"),
        ("number: 2, ", "", "hypotheses[1]: key 'number' is missing"),
        ("recipes:", "start_from: [{rank: 8}]\nrecipes:", "start_from: is for searches"),
    ],
)
def test_mistakes_are_reported(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SPACE
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(tmp_path, SPACE.replace(old, new, 1))


def test_the_series_names_every_experiment_and_every_hypothesis() -> None:
    config = load_study(shipped_spaces()["hand_run"])
    experiments = (6, *range(10, 21), 22, 23, 24)
    assert {f"exp{number:03d}" for number in experiments} <= config.recipes.keys()
    assert {each.number for each in config.hypotheses if each.decides} == set(range(1, 15))
    assert len(config.training_seeds) >= 5


def test_controlled_pairs_differ_in_one_setting() -> None:
    config = load_study(shipped_spaces()["hand_run"])
    for hypothesis in config.hypotheses:
        if not hypothesis.decides or "@" in hypothesis.against or hypothesis.against == "base":
            continue
        arm, against = (config.recipes[name] for name in (hypothesis.arm, hypothesis.against))
        left, right = (
            recipe_train(config, name, 0) for name in (hypothesis.arm, hypothesis.against)
        )
        apart = [k for k in type(left).model_fields if getattr(left, k) != getattr(right, k)]
        apart += ["size"] if arm.suite != against.suite else []
        assert len(apart) == 1, (hypothesis.arm, hypothesis.against, apart)


def test_every_measure_of_a_run_is_worked_out() -> None:
    assert run_measures([], {}).keys() == MEASURES.keys()
