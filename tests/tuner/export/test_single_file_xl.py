"""The names of a whole Stable Diffusion XL in one file, at its full size without weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import load_file

from tests.tuner.exact_xl import LEFT_OUT, exact_pipeline
from tuner.export.folder import write_configuration, write_folder
from tuner.export.single_file import _open_clip, original_layout, write_single_file
from tuner.models import load_base
from tuner.models.stored.families import STABLE_DIFFUSION_XL

UNET, VAE = "model.diffusion_model.", "first_stage_model."
FIRST, SECOND = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."

Exact = tuple[Any, dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def exact() -> Exact:
    pipeline = exact_pipeline()
    return pipeline, original_layout(pipeline, STABLE_DIFFUSION_XL)


def test_the_names_are_those_of_the_published_file(exact: Exact) -> None:
    _, names = exact
    counts = {start: sum(name.startswith(start) for name in names) for start in (UNET, VAE)}
    counts |= {start: sum(name.startswith(start) for name in names) for start in (FIRST, SECOND)}
    assert counts == {UNET: 1680, VAE: 248, FIRST: 196, SECOND: 389}
    assert len({*names, *LEFT_OUT}) == 2515
    leftover = re.compile(r"resnets|attentions\.|samplers|[qkv]_proj|layer_norm|fc[12]")
    assert not [name for name in names if leftover.search(name) and not name.startswith(FIRST)]
    for name in (
        "label_emb.0.0.weight",
        "label_emb.0.2.bias",
        "input_blocks.3.0.op.weight",
        "input_blocks.4.1.transformer_blocks.1.attn2.to_k.weight",
        "input_blocks.8.1.transformer_blocks.9.ff.net.0.proj.weight",
        "middle_block.1.transformer_blocks.9.attn1.to_out.0.bias",
        "output_blocks.2.2.conv.weight",
        "output_blocks.5.2.conv.weight",
        "output_blocks.8.0.skip_connection.weight",
        "out.2.weight",
    ):
        assert UNET + name in names
    assert names[f"{SECOND}transformer.resblocks.31.attn.in_proj_weight"].shape == (3840, 1280)
    assert names[f"{SECOND}positional_embedding"].shape == (77, 1280)
    assert f"{FIRST}text_model.encoder.layers.11.self_attn.q_proj.weight" in names
    assert f"{VAE}decoder.up.3.upsample.conv.weight" in names


def test_diffusers_reads_all_of_them_back(exact: Exact) -> None:
    pipeline, names = exact
    unet = convert_ldm_unet_checkpoint(dict(names), dict(pipeline.unet.config))
    vae = convert_ldm_vae_checkpoint(dict(names), dict(pipeline.vae.config))
    text = convert_open_clip_checkpoint(pipeline.text_encoder_2, dict(names), prefix=SECOND)
    for back, network in (
        (unet, pipeline.unet),
        (vae, pipeline.vae),
        (text, pipeline.text_encoder_2),
    ):
        assert {name: tensor.shape for name, tensor in back.items()} == {
            name: tensor.shape for name, tensor in network.state_dict().items()
        }


def test_projections_are_joined_in_order_and_the_last_is_turned_round() -> None:
    layer = "text_model.encoder.layers.0.self_attn"
    parts = {name: torch.full((2, 2), float(n)) for n, name in enumerate("vkq")}
    weights = {f"{layer}.{name}_proj.weight": part for name, part in parts.items()}
    projection = torch.arange(6.0).reshape(2, 3)
    joined = dict(_open_clip({**weights, "text_projection.weight": projection}))
    assert joined["transformer.resblocks.0.attn.in_proj_weight"][:, 0].tolist() == [
        2,
        2,
        1,
        1,
        0,
        0,
    ]
    assert torch.equal(joined["text_projection"], projection.T)


def test_a_folder_is_read_by_us_and_by_diffusers_with_equal_weights(
    tiny_xl: Path, tmp_path: Path
) -> None:
    base = load_base(str(tiny_xl), device="cpu")
    write_folder(tmp_path / "b", base.pipeline, {"modelspec.title": "tiny"})
    names = set(load_file(tmp_path / "b" / "text_encoder_2" / "model.safetensors"))
    assert "text_projection.weight" in names
    assert "text_model.final_layer_norm.weight" in names
    assert (tmp_path / "b" / "tokenizer_2" / "merges.txt").is_file()
    plain = StableDiffusionXLPipeline.from_pretrained(tmp_path / "b", local_files_only=True)
    for read in (plain, load_base(str(tmp_path / "b"), device="cpu").pipeline):
        for part in STABLE_DIFFUSION_XL.stems:
            ours = getattr(base.pipeline, part).state_dict()
            its = getattr(read, part).state_dict()
            assert set(ours) == set(its)
            assert all(torch.equal(tensor, its[name]) for name, tensor in ours.items())
        assert read.tokenizer_2.pad_token_id == 0


def test_a_configuration_is_enough_for_a_file_and_velocity_is_marked(
    tiny_xl: Path, tmp_path: Path
) -> None:
    base = load_base(str(tiny_xl), "cpu", "v_ztsnr")
    write_single_file(tmp_path / "m.safetensors", base.pipeline, {})
    assert {"v_pred", "ztsnr"} <= set(load_file(tmp_path / "m.safetensors"))
    write_configuration(tmp_path / "m", base.pipeline)
    opened = load_base(str(tmp_path / "m.safetensors"), "cpu")
    assert opened.prediction is not None
    assert (opened.prediction.velocity, opened.prediction.zero_snr) == (True, True)
    assert opened.pipeline.config["force_zeros_for_empty_prompt"] is True
