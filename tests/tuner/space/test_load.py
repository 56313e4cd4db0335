"""Search spaces: read, overridden, refused, sampled from, hashed and written back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from tuner.data.quality_tags import is_quality
from tuner.errors import ConfigError
from tuner.space import StudyConfig, load_study, space_hash, to_yaml
from tuner.space.parameters import Choices, Fixed, FloatRange, IntRange
from tuner.space.templates import shipped_spaces
from tuner.storage.shipped import BASE
from tuner.study.samplers import start_parameters, suggest

optuna.logging.set_verbosity(optuna.logging.ERROR)

HEAD = "study: x\nbase: mannequin\ndata: mannequin\nbudget: {trials: 3, rungs: [5, 10]}\n"


def _study(tmp_path: Path, text: str = "", head: str = HEAD, **options: Any) -> StudyConfig:
    path = tmp_path / "x.yaml"
    path.write_text(head + text, encoding="utf-8")
    return load_study(path, **options)


def test_parameters_of_every_kind(tmp_path: Path) -> None:
    train = _study(
        tmp_path,
        "train:\n  rank: {low: 4, high: 32, log: true}\n  batch_size: {low: 2, high: 8, step: 2}\n"
        "  learning_rate: {low: 1e-4, high: 1, log: true}\n  empty_prompt: {low: 0, high: 1}\n"
        "  alias: {choices: [null, mi_cv]}\n  resolution: {choices: [48, 64x96]}\n  alpha: 1\n",
    ).train
    assert train["rank"] == IntRange(4, 32, log=True)
    assert train["batch_size"] == IntRange(2, 8, step=2)
    assert train["learning_rate"] == FloatRange(1e-4, 1.0, log=True)
    assert train["empty_prompt"] == FloatRange(0.0, 1.0)
    assert train["alias"] == Choices((None, "mi_cv"))
    assert train["resolution"] == Choices((48, "64x96"))
    assert train["alpha"] == Fixed(1.0)
    assert train["captions"] == Fixed("all")
    assert "seed" not in train


def test_sizes_left_out_are_the_bases_own(tmp_path: Path) -> None:
    small = _study(tmp_path)
    large = _study(tmp_path, base="owner/name")
    assert (small.train["resolution"], small.suite.size) == (Fixed(64), 64)
    assert (large.train["resolution"], large.suite.size) == (Fixed(512), 512)


def test_the_shipped_spaces_load() -> None:
    spaces = shipped_spaces()
    assert {"look", "pose", "pose_sd15", "person_sdxl", "anime_sdxl"} <= spaces.keys()
    for path in spaces.values():
        assert load_study(path).train


def test_pose_is_the_small_world() -> None:
    config = load_study(shipped_spaces()["pose"])
    assert config.budget.rungs == (50, 120)
    assert config.budget.trials == 12
    assert len(config.suite.cells()) == 52
    assert config.train["learning_rate"] == FloatRange(2e-4, 1e-2, log=True)
    assert config.constraints == {"undressed_rate": 0.15}


def test_pose_sd15_guards_against_children_and_lifts_the_limit_of_the_small_world() -> None:
    config = load_study(shipped_spaces()["pose_sd15"])
    assert config.constraints == {"explicit_rate": 0.05}
    for word in ("child", "toddler", "loli", "shota", "teen"):
        assert word in config.suite.negative
    assert (config.suite.steps, config.suite.guidance_scale, config.suite.size) == (25, 7.0, 512)
    assert config.train["captions"] == Choices(("all", "gender", "none"))


@pytest.mark.parametrize("name", ["person_sdxl", "anime_sdxl"])
def test_the_spaces_of_sdxl_name_adults_and_start_with_known_recipes(name: str) -> None:
    config = load_study(shipped_spaces()[name])
    for word in ("child", "toddler", "loli", "shota", "teen"):
        assert word in config.suite.negative
    assert config.constraints == {"explicit_rate": 0.05}
    assert (config.suite.size, config.train["buckets"]) == (1024, Fixed(True))
    assert config.train["text_encoder_2_ratio"] == Fixed(0.0)
    searched = {key for key, value in config.train.items() if not isinstance(value, Fixed)}
    assert len(config.start_from) == 5
    assert all(set(start) == searched for start in config.start_from), "nothing is left to chance"


def test_anime_sdxl_keeps_quality_tags_apart_and_its_prompts_are_of_adults() -> None:
    config = load_study(shipped_spaces()["anime_sdxl"])
    assert config.judges.domain_for(config.base) == "drawn"
    for prompt in config.suite.prompts:
        tags = prompt.text.split(", ")
        assert tags[-5:] == ["masterpiece", "best quality", "newest", "absurdres", "highres"]
        assert not any(map(is_quality, tags[:-5]))
        assert all(is_quality(tag) for tag in tags[-5:])
        assert tags[1] == ("mature female" if prompt.sex == "female" else "mature male")
    assert config.train["captions"] == Choices(("all", "content", "gender"))
    person = load_study(shipped_spaces()["person_sdxl"])
    assert person.judges.domain_for(person.base) == "photographic"


def test_options_override_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    config = _study(
        tmp_path / "deep", data="photos", trials=7, seed=5, set_values=["suite.seeds=2"]
    )
    assert config.data == str(tmp_path / "photos")
    assert (config.budget.trials, config.budget.rungs) == (7, (5, 10))
    assert (config.seed, config.suite.seeds) == (5, 2)
    assert _study(tmp_path, base="owner/name").base == "owner/name"


def test_the_last_setting_wins_and_leaves_the_recipes(tmp_path: Path) -> None:
    text = (
        "train: {rank: {choices: [4, 8]}, alpha: 1}\nstart_from: [{rank: 4, alpha: 1}, {rank: 8}]"
    )
    config = _study(tmp_path, text, set_values=["train.rank=3", "train.rank=2"])
    assert config.train["rank"] == Fixed(2)
    assert config.start_from == ({"alpha": 1.0},)


def test_the_shipped_space_takes_a_learning_rate_out_of_its_range() -> None:
    config = load_study(shipped_spaces()["pose"], set_values=["train.learning_rate=0.2"])
    assert config.train["learning_rate"] == Fixed(0.2)
    assert all("learning_rate" not in start for start in config.start_from)


def test_suggest_gives_every_value(tmp_path: Path) -> None:
    config = load_study(shipped_spaces()["pose"], seed=3)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(20):
        trial = study.ask()
        train = suggest(trial, config)
        assert train.seed == 3 + 1000 * number
        assert train.batch_size == 16
        assert train.rank in (4, 8, 16, 32)
        assert 2e-4 <= train.learning_rate <= 1e-2
        searched = {k for k, p in config.train.items() if not isinstance(p, Fixed)}
        assert trial.params.keys() == searched
        assert all(getattr(train, key) == value for key, value in trial.params.items())
        study.tell(trial, 0.0)


def test_suggest_keeps_to_steps_and_takes_a_seed_of_the_space(tmp_path: Path) -> None:
    config = _study(
        tmp_path,
        "train: {batch_size: {low: 2, high: 8, step: 2}, empty_prompt: {low: 0, high: 0.3,"
        " step: 0.1}, seed: 7}",
    )
    study = optuna.create_study()
    for _ in range(10):
        train = suggest(study.ask(), config)
        assert train.batch_size in (2, 4, 6, 8)
        assert round(train.empty_prompt * 10, 6) in (0, 1, 2, 3)
        assert train.seed == 7


def test_a_retry_trains_with_the_seed_of_its_first_try() -> None:
    config = load_study(shipped_spaces()["pose"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(3):
        study.tell(study.ask(), 0.0)
    study.enqueue_trial({}, {"first_try": 1})
    assert suggest(study.ask(), config).seed == 1000


def test_recipes_are_what_optuna_samples_first(tmp_path: Path) -> None:
    config = load_study(shipped_spaces()["pose"])
    study = optuna.create_study()
    for start in start_parameters(config):
        study.enqueue_trial(start)
    train = suggest(study.ask(), config)
    assert (train.captions, train.alias, train.rank) == ("gender", "mi_cv", 16)
    assert (train.learning_rate, train.resolution, train.empty_prompt) == (1e-3, 64, 0.1)


def test_recipes_of_fixed_values_alone_are_none(tmp_path: Path) -> None:
    assert start_parameters(_study(tmp_path, "start_from: [{rank: 16}, {}]")) == []


ROUND_TRIPS = [
    "",
    "train: {rank: {low: 1, high: 9, step: 4}, alpha: {low: 0.5, high: 2.5, step: 0.5}}",
    "train: {rank: {low: 1, high: 9, log: true}}",
    "train: {learning_rate: {low: 1e-9, high: 1e-7, log: true}}",
    "train: {alias: {choices: [null, '1e5', 'no', '007', 'true', 'null', 'on']}, seed: 5}",
    "train: {resolution: {choices: [64, 64x96]}}",
    "train: {resolution: {low: 32, high: 96, step: 32}}",
    "train: {steps: {choices: [null, 5]}}\nstart_from: [{steps: null}, {steps: 5}]",
    "constraints: {undressed_rate: 0, explicit_rate: 1}\nobjectives: [quality]",
    "suite: {name: own, prompts: [{text: 'a: b, # c', sex: female}, {text: '1e-4', framing: half},"
    " {text: 'été 女の人 \\n \"', names_clothes: true}], negative: '- x', seeds: 1, sampler: ddim}",
    "judges: {gender_model: ./clip}\nseed: 4294967295",
    'suite: {negative: "a\\tb\\x85c\\u2028d"}',
    f"suite: {{also_at: [train, 96, 48x64], also_with_alias: true}}\nalso_sample_on: [{BASE}]",
]


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_what_is_written_is_read_back_equal(tmp_path: Path, text: str) -> None:
    config = _study(tmp_path, text)
    (elsewhere := tmp_path / "deep" / "er").mkdir(parents=True)
    written = elsewhere / "study.yaml"
    written.write_text("# a note\n" + to_yaml(config), encoding="utf-8")
    again = load_study(written)
    assert again == config
    assert to_yaml(again) == to_yaml(config)
    assert space_hash(again) == space_hash(config)


@pytest.mark.parametrize("name", ["look", "pose", "pose_sd15", "person_sdxl", "anime_sdxl"])
def test_shipped_spaces_are_read_back_equal(tmp_path: Path, name: str) -> None:
    config = load_study(shipped_spaces()[name])
    (tmp_path / "study.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load_study(tmp_path / "study.yaml") == config


def test_the_hash_follows_the_meaning(tmp_path: Path) -> None:
    first = space_hash(_study(tmp_path, "train: {rank: 4, alpha: 2}"))
    assert len(first) == 64
    same = [
        _study(tmp_path, "train: {alpha: 2.0, rank: 4}"),
        _study(tmp_path, "train: {rank: 4, alpha: 2}", trials=99),
        _study(tmp_path, "train: {rank: 4, alpha: 2}", set_values=["study=other"]),
        _study(tmp_path, "train: {rank: 4, alpha: 2}", set_values=["budget.keep=0.5"]),
        _study(tmp_path, "train: {rank: 4, alpha: 2}", set_values=["budget.keep_from=9"]),
        _study(tmp_path, "train: {rank: 4, alpha: 2}", set_values=["budget.confirm=3"]),
        # Told beside the suite and never optimised.
        _study(tmp_path, "train: {rank: 4, alpha: 2}", set_values=["suite.also_at=[train, 96]"]),
        _study(tmp_path, "train: {rank: 4, alpha: 2}", set_values=["suite.also_with_alias=true"]),
        _study(tmp_path, "train: {rank: 4, alpha: 2}", set_values=[f"also_sample_on=[{BASE}]"]),
    ]
    assert {space_hash(config) for config in same} == {first}
    changes = ["train.rank=8", "budget.rungs=[5]", "suite.seeds=3", "seed=1", "data=photos"]
    changes += ["train.rank={choices: [4, 8]}", "objectives=[pose]", "constraints.explicit_rate=0"]
    changes += [
        "judges.copy_model=a/b",
        "judges.sex_threshold=0.6",
        "judges.gender_model=a/b",
        "start_from=[{rank: 4}]",
        "suite.negative=x",
        "budget.low_rung_seeds=2",
    ]
    others = {
        space_hash(_study(tmp_path, "train: {rank: 4, alpha: 2}", set_values=[change]))
        for change in changes
    }
    assert len(others | {first}) == len(changes) + 1


def test_a_setting_that_is_spelt_out_with_its_default_is_the_same_study(tmp_path: Path) -> None:
    text = "train: {rank: 4, alpha: 2}\n"
    first = space_hash(_study(tmp_path, text))
    spelt = ["train.use_dora=false", "train.optimizer=adamw", "suite.guidance_scale=3.0"]
    assert space_hash(_study(tmp_path, text, set_values=spelt)) == first
    # As a version with fewer settings would have read the file.
    config = _study(tmp_path, text)
    fewer = {name: each for name, each in config.train.items() if name in ("rank", "alpha")}
    fewer["resolution"] = config.train["resolution"]
    assert space_hash(config.model_copy(update={"train": fewer})) == first
    changes = ("train.use_dora=true", "train.optimizer=lion", "train.clip_skip=2", "train.seed=0")
    for change in changes:  # without a seed each trial has its own
        assert space_hash(_study(tmp_path, text, set_values=[change])) != first


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("budget.low_rung_seeds=5", "found 5, allowed: null (all) or a whole number from 1 to the"),
        ("budget.low_rung_seeds=0", "found 0, allowed: null (all) or a whole number from 1"),
        ("budget.keep=0", "found 0, allowed: a number in (0, 1]; 1 stops no trial for being poor"),
        ("budget.keep=1.5", "found 1.5, allowed: a number in (0, 1]"),
        ("budget.keep_from=1", "found 1, allowed: a whole number from 2"),
        ("budget.keeps=1", "unknown key; did you mean 'keep'?"),
    ],
)
def test_a_wrong_budget_is_reported_with_what_is_allowed(
    tmp_path: Path, setting: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        _study(tmp_path, "", set_values=[setting])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_as_many_low_rung_seeds_as_the_suite_has_are_allowed(tmp_path: Path) -> None:
    config = _study(tmp_path, "", set_values=["budget.low_rung_seeds=9", "suite.seeds=9"])
    assert config.budget.low_rung_seeds == 9
