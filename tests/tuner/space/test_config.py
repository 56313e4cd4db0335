"""The configuration's own rules. Needs neither torch nor files, but for one base folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from metrics.contract import Prompt
from tuner.space import StudyConfig, SuiteConfig, TrainConfig
from tuner.space.config import BudgetConfig, JudgeConfig, rung_steps
from tuner.space.sizes import native_size, parse_size


def test_a_train_config_of_defaults_is_valid() -> None:
    config = TrainConfig()
    assert config.lora_alpha == 16.0
    assert config.size == (64, 64)


@pytest.mark.parametrize(("alpha", "expected"), [(None, 8.0), (4.0, 4.0), (0.5, 0.5)])
def test_alpha_is_the_rank_unless_given(alpha: float | None, expected: float) -> None:
    assert TrainConfig(rank=8, alpha=alpha).lora_alpha == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("method", "full"),
        ("first_captions", "some"),
        ("first_share", 1.5),
        ("target_modules", "all"),
        ("target_modules", "attention+convolutions"),
        ("lora_dropout", 1.0),
        ("use_dora", 1),
        ("use_rslora", "true"),
        ("optimizer", "sgd"),
        ("schedule", "linear"),
        ("warmup_steps", -1),
        ("gradient_accumulation", 0),
        ("gradient_checkpointing", "auto"),
        ("min_snr_gamma", 0),
        ("noise_offset", -0.1),
        ("clip_skip", 0),
        ("clip_skip", 13),
        ("prior_weight", -1.0),
        ("captions", "some"),
        ("alias", "-x"),
        ("alias", ""),
        ("alias", "a/b"),
        ("alias", "x" * 65),
        ("alias", "x\n"),
        ("alias", "loli"),
        ("rank", 0),
        ("rank", 257),
        ("rank", 8.0),
        ("rank", "8"),
        ("rank", True),
        ("alpha", 0),
        ("learning_rate", 0.0),
        ("learning_rate", 1.1),
        ("learning_rate", float("nan")),
        ("text_encoder_ratio", -0.1),
        ("text_encoder_2_ratio", -0.1),
        ("text_encoder_2_ratio", 1.1),
        ("resolution", 60),
        ("resolution", 8),
        ("resolution", "512x"),
        ("resolution", "512x769"),
        ("resolution", True),
        ("empty_prompt", 1.01),
        ("batch_size", 0),
        ("steps", 0),
        ("seed", -1),
        ("unknown", 1),
    ],
)
def test_a_wrong_training_value_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        TrainConfig.model_validate({key: value})


def test_the_second_text_encoder_learns_like_the_first_unless_it_has_its_own_ratio() -> None:
    both = TrainConfig(text_encoder_ratio=0.5)
    assert both.shares == {"unet": 1.0, "text_encoder": 0.5, "text_encoder_2": 0.5}
    first = TrainConfig(text_encoder_ratio=0.5, text_encoder_2_ratio=0.0)
    assert first.shares["text_encoder_2"] == 0.0
    assert both.trains_text
    assert first.trains_text
    assert TrainConfig(text_encoder_2_ratio=0.1).trains_text
    assert not TrainConfig(text_encoder_2_ratio=0.0).trains_text


def test_a_whole_number_is_taken_for_a_real_one() -> None:
    rate = TrainConfig.model_validate({"learning_rate": 1}).learning_rate
    assert type(rate) is float


def test_rslora_acts_with_alpha_by_the_root_of_the_rank() -> None:
    config = TrainConfig(rank=16, alpha=8.0, use_rslora=True)
    assert config.file_alpha / config.rank == pytest.approx(8 / 4)
    assert TrainConfig(rank=16, alpha=8.0).file_alpha == 8.0


@pytest.mark.parametrize(
    ("size", "expected"), [(512, (512, 512)), ("512x768", (512, 768)), ("64x64", (64, 64))]
)
def test_sizes(size: int | str, expected: tuple[int, int]) -> None:
    assert parse_size(size) == expected


def test_cells_are_prompt_major() -> None:
    suite = SuiteConfig(prompts=(Prompt("a"), Prompt("b")), seeds=2)
    cells = [(prompt.text, seed) for prompt, seed in suite.cells()]
    assert cells == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_the_first_seeds_of_a_suite_are_known_by_their_places() -> None:
    suite = SuiteConfig()
    assert suite.places() == list(range(52))
    assert suite.places(2) == [4 * prompt + seed for prompt in range(13) for seed in range(2)]
    few = suite.model_copy(update={"seeds": 2})
    assert [suite.cells()[place] for place in suite.places(2)] == list(few.cells())


def test_the_default_suite_is_the_shipped_one() -> None:
    suite = SuiteConfig()
    assert len(suite.prompts) == 13
    assert len(suite.cells()) == 52
    assert suite.image_size == (64, 64)


def test_an_unknown_suite_needs_prompts() -> None:
    with pytest.raises(ValidationError, match="no shipped suite 'mine'"):
        SuiteConfig(name="mine")
    assert SuiteConfig(name="mine", prompts=(Prompt("a"),)).name == "mine"


@pytest.mark.parametrize("rungs", [(), (0, 5), (5, 5), (9, 5), (1.5,), ("5",), (True,), 5])
def test_rungs_ascend(rungs: object) -> None:
    with pytest.raises(ValidationError):
        BudgetConfig.model_validate({"rungs": rungs})


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (None, (100, 200)),
        (50, (50,)),
        (100, (100,)),
        (150, (100, 150)),
        (200, (100, 200)),
        (500, (100, 200, 500)),
    ],
)
def test_rung_steps(steps: int | None, expected: tuple[int, ...]) -> None:
    assert rung_steps(TrainConfig(steps=steps), BudgetConfig(rungs=(100, 200))) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("study", "../x"),
        ("data", {}),
        ("data", {"../a": "x"}),
        ("data", ""),
        ("objectives", ()),
        ("objectives", ("pose", "pose")),
        ("objectives", ("beauty",)),
        ("constraints", {"blur": 0.1}),
        ("constraints", {"explicit_rate": 1.5}),
        ("seed", 2**32),
    ],
)
def test_a_wrong_study_value_is_refused(key: str, value: object) -> None:
    whole: dict[str, object] = {
        "study": "x",
        "base": "mannequin",
        "data": "mannequin",
        "budget": {"rungs": (1,)},
    }
    StudyConfig.model_validate(whole)
    with pytest.raises(ValidationError):
        StudyConfig.model_validate({**whole, key: value})


def test_data_folders_by_name() -> None:
    whole = {"study": "x", "base": "mannequin", "budget": {"rungs": (1,)}}
    one = StudyConfig.model_validate({**whole, "data": "mannequin"})
    two = StudyConfig.model_validate({**whole, "data": {"a": "x", "b": "y"}})
    assert one.data_folders == {None: "mannequin"}
    assert two.data_folders == {"a": "x", "b": "y"}


def test_the_gender_judge_follows_the_base() -> None:
    assert JudgeConfig().gender_model_for("mannequin") == "mannequin"
    assert JudgeConfig().gender_model_for("a/b") == "ViT-L-14/openai"
    assert JudgeConfig(gender_model="RN50/openai").gender_model_for("mannequin") == "RN50/openai"


def test_persons_are_counted_by_the_mannequin_s_detector_on_the_mannequin_only() -> None:
    assert JudgeConfig().person_model_for("mannequin") == "mannequin"
    assert JudgeConfig().person_model_for("a/b") is None
    assert JudgeConfig(person_model="/x/yolov8n.pt").person_model_for("mannequin") == (
        "/x/yolov8n.pt"
    )


@pytest.mark.parametrize("threshold", [0.0, 1.0, "half", True])
def test_a_threshold_of_the_sexes_lies_between_0_and_1(threshold: object) -> None:
    with pytest.raises(ValidationError, match="sex_threshold"):
        JudgeConfig(sex_threshold=threshold)  # type: ignore[arg-type]


def test_native_size_is_read_from_a_diffusers_folder(tmp_path: Path) -> None:
    for part, values in (("unet", {"sample_size": 16}), ("vae", {"block_out_channels": [8, 8, 8]})):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(values))
    assert native_size(str(tmp_path)) == 64
    assert native_size("mannequin") == 64
    assert native_size("someone/some-model") == 512
    (tmp_path / "vae" / "config.json").write_text("[]")
    assert native_size(str(tmp_path)) == 512


def test_no_heavy_library_is_loaded() -> None:
    modules = ("space.config", "space.load", "space.templates", "data.folder", "study.check")
    heavy = ("torch", "diffusers", "transformers", "peft", "optuna", "mediapipe", "cv2")
    program = (
        "import importlib, sys\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(f'tuner.{module}')\n"
        f"    print(module, *({set(heavy)} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == list(modules)
