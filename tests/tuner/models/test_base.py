from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch

from metrics.contract import JudgeSettings, Prompt
from metrics.detectors import Detectors
from tuner.errors import ConfigError, MissingModelError
from tuner.models import BaseModel, load_base
from tuner.models.text_encoder import states
from tuner.space import SuiteConfig
from tuner.storage.folder import RungFolder
from tuner.trial.base_samples import base_samples
from tuner.trial.workbench import Workbench


def test_the_native_size_is_the_latent_size_times_the_vae_factor(base: BaseModel) -> None:
    assert base.native_size == 64
    assert base.dtype == torch.float32


def test_every_part_is_frozen_and_there_is_no_safety_checker(base: BaseModel) -> None:
    parts = (base.pipeline.unet, base.pipeline.vae, base.pipeline.text_encoder)
    assert not any(weight.requires_grad for part in parts for weight in part.parameters())
    assert base.pipeline.safety_checker is None


@pytest.mark.parametrize(
    ("name", "words"),
    [("no such base", "give `mannequin`"), ("nobody/no-such-model", "HF_HUB_OFFLINE")],
)
def test_a_base_that_is_nowhere_is_missing(
    name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingModelError, match=words):
        load_base(name)


def test_a_revision_of_a_hub_id_is_loaded_from_the_cache(
    tiny_base: Path, hub_cache: Callable[[Path, str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub_cache(tiny_base, "owner/name", "v1")
    assert load_base("owner/name@v1", device="cpu").native_size == 64
    with pytest.raises(MissingModelError, match="HF_HUB_OFFLINE"):
        load_base("owner/name", device="cpu")


def test_a_folder_without_weights_is_missing(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "hollow")
    for weights in (tmp_path / "hollow" / "unet").glob("*.safetensors"):
        weights.unlink()
    with pytest.raises(MissingModelError, match="no readable diffusers folder"):
        load_base(str(tmp_path / "hollow"))


def test_an_empty_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match="no readable diffusers folder"):
        load_base(str(tmp_path))


def test_a_broken_single_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(MissingModelError, match="single file"):
        load_base(str(tmp_path / "model.safetensors"))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"cos\nsystem\n")
    with pytest.raises(ConfigError, match="pickled"):
        load_base(str(tmp_path / "model.ckpt"))


def test_another_architecture_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "other")
    index = tmp_path / "other" / "model_index.json"
    index.write_text(
        json.dumps(json.loads(index.read_text()) | {"_class_name": "StableDiffusion3Pipeline"})
    )
    with pytest.raises(ConfigError, match="StableDiffusion3Pipeline"):
        load_base(str(tmp_path / "other"))


def test_a_hub_that_cannot_be_reached_is_reported_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", "http://127.0.0.1:9")
    with pytest.raises(MissingModelError, match="could not be used") as caught:
        load_base("owner/name", device="cpu")
    assert "refused" in str(caught.value)
    assert "model_index" not in str(caught.value)


def test_files_of_a_variant_are_loaded(tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(tiny_base, folder)
    for path in folder.glob("*/*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    assert load_base(str(folder), device="cpu").native_size == 64


def test_pictures_of_a_base_that_are_not_finite_are_the_bases_fault(
    tiny_base: Path, tmp_path: Path
) -> None:
    broken = load_base(str(tiny_base), "cpu")
    bias = broken.pipeline.vae.decoder.conv_out.bias
    assert bias is not None
    bias.data.fill_(torch.nan)
    suite = SuiteConfig(prompts=(Prompt("1girl"),), seeds=1, steps=1)
    bench = Workbench(broken, {}, suite, Detectors(JudgeSettings()))
    with pytest.raises(ConfigError, match="draws pictures that are not finite numbers"):
        list(base_samples(bench, suite, RungFolder(tmp_path)))


def test_a_layer_that_the_text_encoder_lacks_is_refused(base: BaseModel) -> None:
    tokens = base.tokens(["1girl"])
    assert states(base.pipeline.text_encoder, tokens, 2).isfinite().all()
    with pytest.raises(ConfigError, match="clip_skip: found 3, allowed: 1 to 2"):
        states(base.pipeline.text_encoder, tokens, 3)
