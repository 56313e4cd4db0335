from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import open_clip
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from tuner.errors import ConfigError, MissingModelError
from tuner.models import load_base
from tuner.models.checkpoint import read_checkpoint
from tuner.models.clip_tokenizer import all_merges, clip_tokenizer, shipped_tokenizers
from tuner.models.stored.families import STABLE_DIFFUSION_15, STABLE_DIFFUSION_21

FIRST = "model.diffusion_model.input_blocks.0.0.weight"
CONTEXT = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
REST = {"first_stage_model.x": (1,), "cond_stage_model.transformer.x": (1,)}


def checkpoint(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    path = folder / "model.safetensors"
    save_file({name: torch.zeros(shape, dtype=torch.uint8) for name, shape in shapes.items()}, path)
    return path


def sized(context: int, first: int = 320, channels: int = 4) -> dict[str, tuple[int, ...]]:
    return {FIRST: (first, channels, 3, 3), CONTEXT: (first, context), **REST}


def test_a_first_stable_diffusion_takes_the_shipped_configuration(tmp_path: Path) -> None:
    file = read_checkpoint(checkpoint(tmp_path, sized(768)))
    assert file.config == STABLE_DIFFUSION_15
    tokenizers = shipped_tokenizers(file.layout, file.config)
    assert {name: len(each) for name, each in tokenizers.items()} == {"tokenizer": 49408}


def test_a_second_stable_diffusion_takes_its_own_configuration(tmp_path: Path) -> None:
    file = read_checkpoint(checkpoint(tmp_path, sized(1024)))
    assert file.config == STABLE_DIFFUSION_21
    assert shipped_tokenizers(file.layout, file.config)["tokenizer"].pad_token_id == 0


def test_a_folder_of_the_files_name_is_its_configuration(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, sized(24, first=32))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text("{}")
    file = read_checkpoint(path)
    assert file.config == tmp_path / "model"
    assert shipped_tokenizers(file.layout, file.config) == {}


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (sized(768, channels=9), "9 channels, as models for inpainting do"),
        (sized(24, first=32), "of another size"),
        ({FIRST: (320, 4, 3, 3), "first_stage_model.x": (1,)}, "has no text encoder"),
        ({FIRST: (320, 4, 3, 3)}, "has no VAE and no text encoder"),
        ({"lora_unet_x.lora_down.weight": (4, 4)}, "is a LoRA"),
        ({"unet.down_blocks.0.lora_A.weight": (4, 4)}, "is a LoRA"),
        ({"down_blocks.0.resnets.0.conv1.weight": (4, 4)}, "a part of a diffusers folder"),
        ({"decoder.conv_in.weight": (4, 4)}, "is a VAE"),
        ({"something": (1,)}, "holds no known Stable Diffusion"),
        (
            {"conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight": (1,)},
            "is text encoders alone",
        ),
    ],
)
def test_what_is_no_base_is_refused_by_what_it_is(
    shapes: dict[str, tuple[int, ...]], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        load_base(str(checkpoint(tmp_path, shapes)))


def test_a_damaged_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    with pytest.raises(MissingModelError, match="fetch it again"):
        load_base(str(tmp_path / "model.safetensors"))


def test_the_shipped_configuration_makes_the_networks_of_stable_diffusion() -> None:
    """Counts of parameters as published with runwayml/stable-diffusion-v1-5."""
    index = StableDiffusionPipeline.load_config(STABLE_DIFFUSION_15)
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(STABLE_DIFFUSION_15 / "unet")
        vae = AutoencoderKL.from_config(STABLE_DIFFUSION_15 / "vae")
        text = json.loads((STABLE_DIFFUSION_15 / "text_encoder" / "config.json").read_text())
        encoder = CLIPTextModel(CLIPTextConfig(**text))
    assert unet.num_parameters() == 859_520_964
    assert vae.num_parameters() == 83_653_863
    assert encoder.num_parameters() == 123_060_480


def test_the_tokenizer_is_that_of_clip() -> None:
    tokenizer = clip_tokenizer(all_merges())
    sentences = ["1girl, solo, mi_cv", "a photo of a man in the rain", "Ünïcödé 中文 ~ 12 o'clock"]
    ids = tokenizer(sentences, padding="max_length", max_length=77).input_ids
    for mine, theirs in zip(ids, open_clip.tokenize(sentences).tolist(), strict=True):
        end = theirs.index(49407)
        assert mine[: end + 1] == theirs[: end + 1]
        assert set(mine[end:]) == {49407}
