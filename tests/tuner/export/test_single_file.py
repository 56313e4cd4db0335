from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from safetensors.torch import load_file

from metrics.contract import Prompt
from tuner.export.folder import write_configuration
from tuner.export.single_file import SingleFileError, original_layout, write_single_file
from tuner.models import BaseModel, draw, load_base
from tuner.models.stored.families import STABLE_DIFFUSION
from tuner.space import SuiteConfig
from tuner.storage import shipped


def equal(pipeline: StableDiffusionPipeline, other: StableDiffusionPipeline) -> None:
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(pipeline, part).state_dict(), getattr(other, part).state_dict()
        assert set(ours) == set(theirs)
        for name, tensor in ours.items():
            assert torch.equal(tensor.half(), theirs[name].half()), f"{part} {name}"


def test_the_file_is_read_back_as_the_same_model(
    base: BaseModel, tiny_base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_single_file(path, base.pipeline, {"modelspec.title": "tiny"})
    read = StableDiffusionPipeline.from_single_file(
        str(path), config=str(tiny_base), local_files_only=True, safety_checker=None
    )
    equal(base.pipeline, read)
    names = set(load_file(path))
    assert "v_pred" not in names
    assert "model.diffusion_model.input_blocks.1.0.in_layers.0.weight" in names
    assert "first_stage_model.decoder.up.0.block.0.conv1.weight" in names


def test_the_mannequin_goes_through_a_file_and_draws_the_same(tmp_path: Path) -> None:
    base = load_base("mannequin", "cpu")
    path = tmp_path / "model.safetensors"
    write_single_file(path, base.pipeline, {})
    read = StableDiffusionPipeline.from_single_file(
        str(path), config=str(shipped.BASE), local_files_only=True, safety_checker=None
    )
    equal(base.pipeline, read)
    suite = SuiteConfig(prompts=(Prompt("1girl"),), seeds=1, steps=2)
    ours, theirs = (draw(pipeline, suite, [0])[0].astype(int) for pipeline in (base.pipeline, read))
    assert abs(ours - theirs).max() <= 5


def test_the_names_are_those_that_programs_know_stable_diffusion_by(base: BaseModel) -> None:
    """What diffusers, A1111 and ComfyUI look for to tell a checkpoint's kind, on SD1.5's shape."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)  # the defaults are SD1.5's
        whole = type("Whole", (), {})()
    whole.unet, whole.vae, whole.text_encoder = unet, base.pipeline.vae, base.pipeline.text_encoder
    names = original_layout(whole, STABLE_DIFFUSION)
    assert "model.diffusion_model.output_blocks.11.0.skip_connection.weight" in names
    assert "model.diffusion_model.output_blocks.5.2.conv.weight" in names
    assert "model.diffusion_model.output_blocks.2.1.conv.weight" in names
    assert "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight" in names
    assert "first_stage_model.decoder.mid.attn_1.proj_out.weight" in names
    # The published v1-5 file has 686 tensors of the UNet.
    own = {
        name: original
        for name, original in names.items()
        if name.startswith("model.diffusion_model.")
    }
    assert len(own) == 686
    assert not [name for name in own if re.search(r"resnets|attentions\.|samplers", name)]
    back = convert_ldm_unet_checkpoint(own, dict(unet.config))
    assert {name: tensor.shape for name, tensor in back.items()} == {
        name: tensor.shape for name, tensor in unet.state_dict().items()
    }


def test_v_prediction_is_marked(base: BaseModel, tmp_path: Path) -> None:
    scheduler, path = base.pipeline.scheduler, tmp_path / "model.safetensors"
    settings = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    base.pipeline.scheduler = DDIMScheduler.from_config(scheduler.config, **settings)
    try:
        write_single_file(path, base.pipeline, {})
        write_configuration(tmp_path / "model", base.pipeline)
    finally:
        base.pipeline.scheduler = scheduler
    assert {"v_pred", "ztsnr"} <= set(load_file(path))
    read = StableDiffusionPipeline.from_single_file(
        str(path), config=str(tmp_path / "model"), local_files_only=True, safety_checker=None
    )
    equal(base.pipeline, read)
    assert read.scheduler.config.prediction_type == "v_prediction"


def test_stable_diffusion_2_is_refused(base: BaseModel, tmp_path: Path) -> None:
    config = base.pipeline.text_encoder.config
    before, config.hidden_act = config.hidden_act, "gelu"
    try:
        with pytest.raises(SingleFileError, match="folder"):
            write_single_file(tmp_path / "a.safetensors", base.pipeline, {})
    finally:
        config.hidden_act = before
    assert not list(tmp_path.iterdir())
