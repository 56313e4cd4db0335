"""A Stable Diffusion XL is opened from a folder, the hub's cache and a single file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from tuner.errors import ConfigError
from tuner.export.single_file import write_single_file
from tuner.models import BaseModel, load_base
from tuner.models.families import family_of, stable_diffusion, stable_diffusion_xl
from tuner.models.pipelines import has_family
from tuner.models.stored.families import STABLE_DIFFUSION_XL, layout_named
from tuner.models.stored.hub import fetch
from tuner.space.base_name import parse_base


@pytest.fixture(scope="module")
def folder_base(tiny_xl: Path) -> BaseModel:
    return load_base(str(tiny_xl), device="cpu")


@pytest.fixture
def single_file(tiny_xl: Path, tmp_path: Path, folder_base: BaseModel) -> Path:
    """The tiny base as one file with its configuration beside it."""
    shutil.copytree(tiny_xl, tmp_path / "m", ignore=shutil.ignore_patterns("*.safetensors"))
    write_single_file(tmp_path / "m.safetensors", folder_base.pipeline, {})
    return tmp_path / "m.safetensors"


def equal(one: BaseModel, other: BaseModel, dtype: torch.dtype = torch.float16) -> None:
    for part in STABLE_DIFFUSION_XL.stems:
        mine, its = (getattr(each.pipeline, part).state_dict() for each in (one, other))
        assert set(mine) == set(its)
        for name, tensor in mine.items():
            values = [each.half().to(dtype).float() for each in (tensor, its[name])]
            assert torch.equal(*values), name


def test_families_are_found_by_the_pipeline() -> None:
    assert family_of("StableDiffusionPipeline") is stable_diffusion
    assert family_of("StableDiffusionXLPipeline") is stable_diffusion_xl
    assert layout_named("FluxPipeline") is None


def test_a_folder_is_opened_frozen_with_its_family(folder_base: BaseModel) -> None:
    assert folder_base.family is stable_diffusion_xl
    assert (folder_base.native_size, folder_base.layers) == (64, 3)
    assert isinstance(folder_base.pipeline, StableDiffusionXLPipeline)
    for part in STABLE_DIFFUSION_XL.stems:
        network = getattr(folder_base.pipeline, part)
        assert not network.training
        assert not any(weight.requires_grad for weight in network.parameters())
    assert folder_base.pipeline.tokenizer_2.pad_token_id == 0
    assert folder_base.pipeline.watermark is None


def test_a_variant_in_the_hubs_cache_is_opened(
    tiny_xl: Path,
    tmp_path: Path,
    folder_base: BaseModel,
    hub_cache: Callable[[Path, str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = Path(shutil.copytree(tiny_xl, tmp_path / "half"))
    for path in folder.glob("*/*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    hub_cache(folder, "owner/name", "v1")
    equal(load_base("owner/name@v1", device="cpu"), folder_base)


def test_only_the_files_of_one_variant_are_fetched(
    tiny_xl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [path.relative_to(tiny_xl).as_posix() for path in tiny_xl.rglob("*.*")]
    half = [name.replace(".safetensors", ".fp16.safetensors") for name in plain]
    names = [*plain, *half, "sd_xl.safetensors", "vae_1_0/config.json", "unet/model.onnx"]
    wanted: list[str] = []

    def fetched(hub_id: str, revision: str | None, allow_patterns: list[str]) -> str:
        wanted.extend(allow_patterns)
        return str(tiny_xl)

    info = SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.model_info", lambda *args, **kwargs: info)
    index = str(tiny_xl / "model_index.json")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *args, **kwargs: index)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    assert fetch("owner/name", parse_base("owner/name")) == tiny_xl
    weights = {name for name in wanted if name.endswith(".safetensors")}
    assert weights == {
        f"{part}/{stem}.fp16.safetensors" for part, stem in STABLE_DIFFUSION_XL.stems.items()
    }
    assert {name.partition("/")[0] for name in wanted} == {
        "model_index.json",
        *STABLE_DIFFUSION_XL.parts,
    }


def test_a_single_file_is_opened_and_read_by_diffusers(
    single_file: Path, folder_base: BaseModel
) -> None:
    opened = load_base(str(single_file), device="cpu")
    equal(opened, folder_base)
    pipeline = StableDiffusionXLPipeline.from_single_file(
        str(single_file), config=str(single_file.with_suffix("")), local_files_only=True
    )
    plain = BaseModel("plain", pipeline, torch.device("cpu"), 64)
    equal(plain, folder_base)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_weights_are_cast(
    single_file: Path, folder_base: BaseModel, dtype: torch.dtype
) -> None:
    save_file({name: each.to(dtype) for name, each in load_file(single_file).items()}, single_file)
    opened = load_base(str(single_file), device="cpu")
    assert opened.dtype == torch.float32
    equal(opened, folder_base, dtype)


def test_numbers_of_positions_are_no_quantisation(single_file: Path) -> None:
    tensors = load_file(single_file)
    name = "conditioner.embedders.0.transformer.text_model.embeddings.position_ids"
    tensors[name] = torch.arange(77)[None]
    save_file(tensors, single_file)
    load_base(str(single_file), device="cpu")


def test_velocity_with_zero_terminal_snr_is_in_the_scheduler(single_file: Path) -> None:
    save_file({**load_file(single_file), "v_pred": torch.zeros(0)}, single_file)
    with pytest.raises(ConfigError, match="contradict each other"):
        load_base(str(single_file), device="cpu")
    opened = load_base(str(single_file), device="cpu", prediction="v_ztsnr")
    config = opened.pipeline.scheduler.config
    assert config["prediction_type"] == "v_prediction"
    assert config["rescale_betas_zero_snr"] is True
    assert config["timestep_spacing"] == "trailing"


def test_a_distilled_base_is_left_to_diffusers(tiny_xl: Path, tmp_path: Path) -> None:
    assert has_family(str(tiny_xl))
    folder = Path(shutil.copytree(tiny_xl, tmp_path / "turbo"))
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace('"leading"', '"trailing"'))
    assert not has_family(str(folder))
