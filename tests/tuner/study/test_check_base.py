"""What `tuner check` says about bases, and which it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tuner.written_base import change, checkpoint_shapes, write_folder, write_weights
from tuner.errors import ConfigError, MissingModelError
from tuner.models.stored.families import STABLE_DIFFUSION_15
from tuner.space import StudyConfig, load_study
from tuner.space.templates import shipped_spaces
from tuner.study.check_base import base_lines, other_base_lines

LARGE = ("train.resolution=512", "suite.size=512")


def study(base: object, *settings: str) -> StudyConfig:
    return load_study(shipped_spaces()["pose"], base=str(base), set_values=settings)


def velocity(folder: Path) -> Path:
    change(folder / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    return folder


def test_what_a_folder_predicts_is_said_with_its_source(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "b", "fp16")
    first, second = base_lines(study(folder)).splitlines()
    assert first == f"base {folder}: a folder, 64 px, its fp16 files"
    assert (
        second == f"base {folder} predicts noise (epsilon), according to its scheduler_config.json"
    )
    assert "velocity (v-prediction), acc" in base_lines(study(velocity(folder)))
    chosen = base_lines(study(folder, "base_prediction=epsilon"))
    assert chosen.endswith("predicts noise (epsilon), according to base_prediction")


def test_a_checkpoint_with_its_yaml_is_no_longer_taken_for_one_that_predicts_noise(
    tmp_path: Path,
) -> None:
    path = write_weights(tmp_path / "m.safetensors", checkpoint_shapes(STABLE_DIFFUSION_15))
    (tmp_path / "m.yaml").write_text('model: {params: {parameterization: "v"}}')
    line = base_lines(study(path, *LARGE)).splitlines()[1]
    assert line == f"base {path} predicts velocity (v-prediction), according to m.yaml beside it"


@pytest.mark.parametrize(
    "skip", ["3", "{low: 1, high: 12}", "{choices: [1, 12]}"], ids=["fixed", "range", "choices"]
)
def test_a_clip_skip_beyond_the_layers_is_refused(tmp_path: Path, skip: str) -> None:
    folder = write_folder(tmp_path / "b")
    for base in (folder, "mannequin"):
        with pytest.raises(
            ConfigError, match=r"found (3|12), allowed: 1 to 2, as the text encoder"
        ):
            base_lines(study(base, f"train.clip_skip={skip}"))
        base_lines(study(base, "train.clip_skip={low: 1, high: 2}"))


def test_bases_that_predict_different_things_share_no_lora(tmp_path: Path) -> None:
    first, second = (write_folder(tmp_path / name) for name in "ab")
    config = study(first)
    assert other_base_lines(config, str(second)).startswith(f"also sampled on base {second}: a f")
    with pytest.raises(ConfigError, match=r"predicts velocity .* while the study's base predicts"):
        other_base_lines(config, str(velocity(second)))
    other_base_lines(study(first, "base_prediction=v"), str(second))


def test_half_a_base_in_the_hubs_cache_is_completed_where_there_is_a_network(
    tmp_path: Path,
    hub_cache: Callable[[Path, str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_folder(tmp_path / "b")
    shutil.rmtree(folder / "vae")
    hub_cache(folder, "owner/name", "v1")
    config = study("owner/name@v1", *LARGE)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert "the rest of it will be downloaded from the hub, about 4 GB, at" in base_lines(config)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingModelError, match="owner/name@v1 lacks vae"):
        base_lines(config)


def test_a_stable_diffusion_xl_is_checked_as_the_other_bases(
    tiny_xl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = base_lines(study(tiny_xl)).splitlines()
    assert first == f"base {tiny_xl}: a folder, 64 px"
    assert second.endswith("predicts noise (epsilon), according to its scheduler_config.json")
    with pytest.raises(ConfigError, match="allowed: 1 to 3, as the text encoder"):
        base_lines(study(tiny_xl, "train.clip_skip=4"))
    with pytest.raises(ConfigError, match="also_sample_on mannequin: it is a Stable Diff"):
        other_base_lines(study(tiny_xl), "mannequin")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    sizes = ("train.resolution=1024", "suite.size=1024")
    line = base_lines(study("owner/some-xl-model", *sizes))
    assert "about 7 GB (14 GB if it has no fp16 files), at the first run" in line
