"""Names of a LoRA for Stable Diffusion XL at its exact size, against the rules of two programs.

kohya's trainer: `networks/lora.py` joins `lora_unet` and the dotted name in its own UNet, which has
the blocks of the original layout (`library/sdxl_original_unet.py`), and begins the names of the two
text encoders with `lora_te1` and `lora_te2`. ComfyUI: `comfy/lora.py` takes `lora_unet_` and the
name after `diffusion_model.`, and `lora_te1_`, `lora_te2_` for its clip_l and clip_g.
"""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tuner.models import BaseModel, adapter
from tuner.models.stored.families import STABLE_DIFFUSION_XL_10

DEPTHS = {
    **dict.fromkeys(("input_blocks_4_1", "input_blocks_5_1"), 2),
    **dict.fromkeys(("input_blocks_7_1", "input_blocks_8_1"), 10),
    "middle_block_1": 10,
    **dict.fromkeys(("output_blocks_0_1", "output_blocks_1_1", "output_blocks_2_1"), 10),
    **dict.fromkeys(("output_blocks_3_1", "output_blocks_4_1", "output_blocks_5_1"), 2),
}
"""The transformers of the UNet and how many blocks each has: 70 in all."""

RESIDUAL = [
    *(f"input_blocks_{place}_0" for place in (1, 2, 4, 5, 7, 8)),
    "middle_block_0",
    "middle_block_2",
    *(f"output_blocks_{place}_0" for place in range(9)),
]
WIDENED = ["input_blocks_4_0", "input_blocks_7_0", *(f"output_blocks_{n}_0" for n in range(9))]
SAMPLERS = [
    "input_blocks_3_0_op",
    "input_blocks_6_0_op",
    "output_blocks_2_2_conv",
    "output_blocks_5_2_conv",
]
ATTENTION = [f"attn{n}_to_{part}" for n in (1, 2) for part in ("q", "k", "v", "out_0")]
BLOCKS = [
    f"{where}_transformer_blocks_{n}" for where, depth in DEPTHS.items() for n in range(depth)
]
UNET = {
    "attention": {f"{block}_{part}" for block in BLOCKS for part in ATTENTION},
    "feed_forward": {f"{block}_ff_net_{part}" for block in BLOCKS for part in ("0_proj", "2")},
    "convolutions": {f"{where}_proj_{way}" for where in DEPTHS for way in ("in", "out")}
    | {f"{where}_{part}" for where in RESIDUAL for part in ("in_layers_2", "out_layers_3")}
    | {f"{where}_skip_connection" for where in WIDENED}
    | set(SAMPLERS),
}
TEXT = {
    "attention": [f"self_attn_{part}_proj" for part in ("q", "k", "v", "out")],
    "feed_forward": ["mlp_fc1", "mlp_fc2"],
    "convolutions": [],
}
LAYERS = {"text_encoder": 12, "text_encoder_2": 32}
STARTS = {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
COUNTS = {"attention": (560, 48, 128), "feed_forward": (140, 24, 64), "convolutions": (71, 0, 0)}


@pytest.fixture(scope="module")
def exact() -> BaseModel:
    def config(part: str) -> dict[str, object]:
        text = (STABLE_DIFFUSION_XL_10 / part / "config.json").read_text(encoding="utf-8")
        values: dict[str, object] = json.loads(text)
        return values

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config("unet"))
        first = CLIPTextModel(CLIPTextConfig(**config("text_encoder")))
        second = CLIPTextModelWithProjection(CLIPTextConfig(**config("text_encoder_2")))
    assert sum(weight.numel() for weight in unet.parameters()) == 2_567_463_684
    pipeline = type("StableDiffusionXLPipeline", (), {})()
    pipeline.unet, pipeline.text_encoder, pipeline.text_encoder_2 = unet, first, second
    return BaseModel("exact", pipeline, torch.device("meta"), 1024)


@pytest.mark.parametrize("words", ["attention", "feed_forward", "convolutions"])
def test_names_are_those_of_kohyas_trainer_and_of_comfyui(exact: BaseModel, words: str) -> None:
    names = {
        component: [
            exact.kohya_name(component, dotted)
            for dotted in adapter.targets(model, component, words)
        ]
        for component, model in exact.networks.items()
    }
    assert tuple(len(own) for own in names.values()) == COUNTS[words]
    assert set(names["unet"]) == {f"lora_unet_{name}" for name in UNET[words]}
    for component, layers in LAYERS.items():
        assert set(names[component]) == {
            f"{STARTS[component]}_text_model_encoder_layers_{layer}_{part}"
            for layer in range(layers)
            for part in TEXT[words]
        }


def test_kohyas_trainer_counts_as_many_modules() -> None:
    """It reports 722 modules for the UNet: all layers of the transformers; and 72 and 192."""
    inside = [name for words in UNET.values() for name in words if "_transformer_" in name]
    inside += [name for name in UNET["convolutions"] if "_proj_" in name]
    assert len(inside) == 722
    each = sum(len(parts) for parts in TEXT.values())
    assert [each * layers for layers in LAYERS.values()] == [72, 192]
