"""Settings that a base does not have, and memory that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from tests.tuner.written_base import change, write_folder
from tuner.errors import ConfigError
from tuner.mannequin import cost as mannequin
from tuner.models.stored.families import STABLE_DIFFUSION, STABLE_DIFFUSION_XL, UnitCost
from tuner.space import StudyConfig, load_study
from tuner.space.templates import shipped_spaces
from tuner.space.train_config import Optimizer, Targets
from tuner.study import check_study
from tuner.study.checks.needed_memory import fits, needed_bytes, smaller
from tuner.study.checks.settings import (
    Device,
    memory_line,
    setting_problems,
    short_lines,
    smallest_gpu,
)
from tuner.study.cost import rough_units

GIB = 2**30
XL = STABLE_DIFFUSION_XL.cost


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A folder that looks like Stable Diffusion XL of 1024 pixels from outside."""
    base = write_folder(tmp_path / "base")
    change(base / "model_index.json", _class_name="StableDiffusionXLPipeline")
    change(base / "unet" / "config.json", sample_size=256)  # its VAE has a factor of 4
    return base


def study(base: Path, *settings: str, space: str = "person_sdxl") -> StudyConfig:
    return load_study(shipped_spaces()[space], base=str(base), set_values=settings)


def gpu(gib: float) -> Device:
    return Device(int(gib * GIB), is_gpu=True)


@pytest.mark.parametrize("name", get_args(Optimizer))
def test_each_optimizer_has_its_bytes(large: Path, name: str) -> None:
    assert needed_bytes(study(large, f"train.optimizer={name}"), XL) > XL.resident


@pytest.mark.parametrize("cost", [XL, STABLE_DIFFUSION.cost, mannequin.COST])
def test_each_choice_of_layers_has_its_size(cost: UnitCost) -> None:
    assert [*cost.targets] == [*get_args(Targets)]
    assert [*cost.targets.values()] == sorted(cost.targets.values())


@pytest.mark.parametrize("space", ["person_sdxl", "anime_sdxl"])
def test_the_shipped_spaces_fit_24_gigabytes_and_name_what_12_need(large: Path, space: str) -> None:
    config = study(large, space=space)
    assert rough_units(config) is XL
    assert short_lines(config, XL, gpu(24)) == []
    assert short_lines(config, XL, gpu(16)) == []
    (line,) = short_lines(config, XL, gpu(12))
    assert line.startswith("memory is short, the GPU has 12")
    names = ("train.batch_size=1", "train.optimizer=adamw8bit", "suite.size=768")
    assert line.endswith(f" with --set {' --set '.join(names)}")
    again = study(large, *names, space=space)
    assert short_lines(again, XL, gpu(12)) == []
    assert fits(needed_bytes(again, XL, checkpointed=True), 12 * GIB)


def test_a_greedy_study_is_told_every_setting_that_it_needs(large: Path) -> None:
    config = study(
        large,
        "train.batch_size=8",
        "train.gradient_checkpointing=false",
        "train.text_encoder_2_ratio=0.5",
        "train.resolution={choices: [1024, 1536]}",
        "train.rank=128",
    )
    changes, needed = smaller(config, XL, 16 * GIB)
    assert fits(needed, 16 * GIB)
    assert changes["train.gradient_checkpointing"] is True
    assert changes["train.batch_size"] == 1
    (line,) = short_lines(config, XL, gpu(16))
    assert "--set train.gradient_checkpointing=true --set train.batch_size=1" in line
    (line,) = short_lines(config, XL, gpu(8))
    assert "--set train.text_encoder_ratio=0.0 --set train.text_encoder_2_ratio=0.0" in line
    assert "--set train.resolution=768" in line
    assert line.endswith("use a larger GPU, or a smaller rank")


def test_without_a_gpu_nothing_is_proposed(large: Path) -> None:
    config = study(large)
    assert short_lines(config, XL, None) == []
    assert short_lines(config, XL, Device(GIB, is_gpu=False)) == []


def test_the_memory_of_a_study(large: Path) -> None:
    line = memory_line(study(large), XL, is_small=False)
    assert line.startswith("memory: about 2")
    assert "with gradient checkpointing, which is used where it is short" in line
    fixed = memory_line(study(large, "train.gradient_checkpointing=true"), XL, is_small=False)
    assert fixed.endswith("for each worker")
    small = load_study(shipped_spaces()["pose"])
    assert memory_line(small, rough_units(small), is_small=True).startswith("memory: about 2")


def test_dreambooth_of_sdxl_is_refused_where_its_memory_is_not_there(large: Path) -> None:
    config = study(large, "train.method=dreambooth", "train.text_encoder_ratio=0.0")
    (line,) = setting_problems(config, XL, gpu(24))
    assert line.startswith("train.method: dreambooth trains 2.6 billion weights and needs about ")
    # 16 bytes for each weight, the base and its libraries, and activations.
    assert 46 * GIB < needed_bytes(config, XL, checkpointed=True) < 54 * GIB
    assert "the GPU has 24" in line
    assert setting_problems(config, XL, gpu(80)) == []
    assert setting_problems(config, XL, None) == [], "another machine computes it"
    (line,) = setting_problems(config, XL, Device(16 * GIB, is_gpu=False))
    assert "this machine has 16" in line
    both = study(large, "train.method=dreambooth", "train.text_encoder_ratio=0.5")
    assert "dreambooth trains 3.4 billion" in setting_problems(both, XL, gpu(24))[0]
    less = study(
        large, "train.method=dreambooth", "train.text_encoder_ratio=0", "train.optimizer=adamw8bit"
    )
    assert setting_problems(less, XL, gpu(40)) == []


def test_dreambooth_of_a_tiny_sdxl_passes(tmp_path: Path) -> None:
    base = write_folder(tmp_path / "base")
    change(base / "model_index.json", _class_name="StableDiffusionXLPipeline")
    config = study(base, "train.method=dreambooth", space="pose")
    assert setting_problems(config, rough_units(config), gpu(4)) == []


def test_a_second_ratio_needs_a_second_text_encoder(tmp_path: Path, large: Path) -> None:
    base = write_folder(tmp_path / "first")
    setting = "train.text_encoder_2_ratio={choices: [null, 0.5]}"
    config = study(base, setting, space="pose")
    assert setting_problems(config, STABLE_DIFFUSION.cost, None) == [
        f"train.text_encoder_2_ratio: found 0.5, allowed: null, as base {base} (Stable Diffusion "
        "1.x and 2.x) has one text encoder; remove it"
    ]
    assert setting_problems(study(large, setting), XL, None) == []
    unknown = load_study(shipped_spaces()["person_sdxl"])
    assert setting_problems(unknown, rough_units(unknown), None) == []


@pytest.mark.parametrize(
    ("listing", "visible", "gib"),
    [
        ("24564\n12288\n", None, 12),
        ("24576\n12288\n", "0", 24),
        ("24576\n12288\n", "GPU-1f", 12),
        ("24576\n", "3", 24),
        ("", None, None),
        ("[N/A]\n", None, None),
    ],
)
def test_the_smallest_visible_gpu_counts(
    listing: str, visible: str | None, gib: int | None
) -> None:
    assert smallest_gpu(listing, visible) == (None if gib is None else gib * GIB)


def test_the_check_reports_settings_with_all_else_that_is_wrong(tmp_path: Path) -> None:
    base = write_folder(tmp_path / "first")
    config = study(base, "train.text_encoder_2_ratio=0.1", "data=none", space="pose")
    with pytest.raises(ConfigError) as caught:
        check_study(config, tmp_path)
    first, second = str(caught.value).splitlines()
    assert first.startswith("train.text_encoder_2_ratio: found 0.1, allowed: null, as base")
    assert "none is not there" in second
