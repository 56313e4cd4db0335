"""Names of tensors against what the code of ComfyUI, A1111 and kohya's trainer says.

ComfyUI: `comfy/utils.py` (unet_to_diffusers) and `comfy/lora.py` (LORA_CLIP_MAP). A1111:
`extensions-builtin/Lora/networks.py`. kohya's trainer: `networks/lora.py`, the classes in which it
looks for layers. All on the shape of Stable Diffusion 1.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
from diffusers import UNet2DConditionModel

from tuner.export.single_file import original_layout
from tuner.models import BaseModel, adapter
from tuner.models.families.layer_names import plain_name
from tuner.models.stored.families import STABLE_DIFFUSION

LAYERS = range(2)
TRANSFORMERS = [
    *(f"down_blocks_{block}_attentions_{layer}" for block in range(3) for layer in LAYERS),
    "mid_block_attentions_0",
    *(f"up_blocks_{block}_attentions_{layer}" for block in range(1, 4) for layer in range(3)),
]
RESIDUAL = [
    *(f"down_blocks_{block}_resnets_{layer}" for block in range(4) for layer in LAYERS),
    *(f"mid_block_resnets_{layer}" for layer in LAYERS),
    *(f"up_blocks_{block}_resnets_{layer}" for block in range(4) for layer in range(3)),
]
SHORTCUTS = {"down_blocks_1_resnets_0", "down_blocks_2_resnets_0"} | {
    name for name in RESIDUAL if name.startswith("up_")
}
ATTENTION = [
    f"transformer_blocks_0_attn{number}_to_{part}"
    for number in (1, 2)
    for part in ("q", "k", "v", "out_0")
]
FEED_FORWARD = ["transformer_blocks_0_ff_net_0_proj", "transformer_blocks_0_ff_net_2"]
SAMPLERS = [
    *(f"down_blocks_{block}_downsamplers_0_conv" for block in range(3)),
    *(f"up_blocks_{block}_upsamplers_0_conv" for block in range(3)),
]
UNET = {
    "attention": {f"{where}_{part}" for where in TRANSFORMERS for part in ATTENTION},
    "feed_forward": {f"{where}_{part}" for where in TRANSFORMERS for part in FEED_FORWARD},
    "convolutions": {f"{where}_proj_{way}" for where in TRANSFORMERS for way in ("in", "out")}
    | {f"{where}_conv{number}" for where in RESIDUAL for number in (1, 2)}
    | {f"{where}_conv_shortcut" for where in SHORTCUTS}
    | set(SAMPLERS),
}
TEXT = {
    "attention": {f"self_attn_{part}" for part in ("q_proj", "k_proj", "v_proj", "out_proj")},
    "feed_forward": {"mlp_fc1", "mlp_fc2"},
    "convolutions": set(),
}


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(cross_attention_dim=768)  # the defaults are SD1.5's


@pytest.mark.parametrize("words", ["attention", "feed_forward", "convolutions"])
def test_the_names_of_a_lora_are_those_that_all_programs_know(
    unet: UNet2DConditionModel, base: BaseModel, words: str
) -> None:
    ours = {plain_name("unet", name) for name in adapter.targets(unet, "unet", words)}
    assert ours == {f"lora_unet_{name}" for name in UNET[words]}
    encoder = base.pipeline.text_encoder
    text = {
        plain_name("text_encoder", name) for name in adapter.targets(encoder, "text_encoder", words)
    }
    assert text == {
        f"lora_te_text_model_encoder_layers_{layer}_{part}"
        for layer in LAYERS  # of the tiny base
        for part in TEXT[words]
    }


def test_kohyas_trainer_counts_as_many_modules() -> None:
    """Without convolutions it makes 192 modules for the UNet: all layers of the transformers."""
    inside = [name for words in UNET.values() for name in words if "attentions" in name]
    assert len(inside) == 192
    assert sum(len(parts) for parts in TEXT.values()) * 12 == 72


def compvis(name: str) -> str:
    """The layer of the original layout that A1111 finds for a UNet layer in kohya's names."""
    parts = {"conv1": "in_layers_2", "conv2": "out_layers_3", "conv_shortcut": "skip_connection"}
    kind = r"(attentions|resnets|downsamplers|upsamplers)"
    if match := re.fullmatch(r"mid_block_(attentions|resnets)_(\d)_(.+)", name):
        place = 1 if match[1] == "attentions" else int(match[2]) * 2
        return f"middle_block_{place}_{parts.get(match[3], match[3])}"
    match = re.fullmatch(rf"(down|up)_blocks_(\d)_{kind}_(\d)_(.+)", name)
    assert match is not None
    way, block, what, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if what == "downsamplers":
        return f"input_blocks_{3 + block * 3}_0_op"
    if what == "upsamplers":
        return f"output_blocks_{2 + block * 3}_{2 if block > 0 else 1}_conv"
    number = block * 3 + layer + (way == "down")
    blocks = "input_blocks" if way == "down" else "output_blocks"
    return f"{blocks}_{number}_{int(what == 'attentions')}_{parts.get(rest, rest)}"


def layers_of(names: Iterator[str], start: str) -> set[str]:
    return {
        name.removeprefix(start).removesuffix(".weight").replace(".", "_")
        for name in names
        if name.startswith(start)
    }


def test_a1111_finds_every_layer_in_the_original_layout(
    unet: UNet2DConditionModel, base: BaseModel
) -> None:
    whole = type("Whole", (), {})()
    whole.unet, whole.vae, whole.text_encoder = unet, base.pipeline.vae, base.pipeline.text_encoder
    names = original_layout(whole, STABLE_DIFFUSION)
    there = layers_of(iter(names), "model.diffusion_model.")
    assert {compvis(name) for words in UNET.values() for name in words} <= there
    text = layers_of(iter(names), "cond_stage_model.transformer.")
    assert {
        f"text_model_encoder_layers_0_{part}" for parts in TEXT.values() for part in parts
    } <= text
