"""LoRAs for other bases are told apart by their names in exact size, and refused with a sentence.

The layers are those of diffusers' own classes, without weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.tuner.models.foreign.writers import AB, Tensors, write
from tuner.models import BaseModel
from tuner.models.foreign.apply import apply_foreign
from tuner.models.foreign.file import read_foreign
from tuner.models.lora_file import LoraFileError
from tuner.models.stored.original_names import unet_name

SD1 = {
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD2 = SD1 | {
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
}
SDXL = {
    "block_out_channels": (320, 640, 1280),
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}
SD3 = {
    "num_layers": 24,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 2048,
}


def on_meta(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    with torch.device("meta"):
        return make()


def linears(model: torch.nn.Module, pattern: str) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of the linear layers with these names."""
    return {
        name: (layer.out_features, layer.in_features)
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and re.search(pattern, name)
    }


def unet(settings: dict[str, object]) -> dict[str, tuple[int, int]]:
    return linears(on_meta(lambda: diffusers.UNet2DConditionModel(**settings)), "attn|ff")


def text(width: int, layers: int) -> dict[str, tuple[int, int]]:
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        projection_dim=width,
    )
    kind = CLIPTextModel if width == 768 else CLIPTextModelWithProjection
    found = linears(on_meta(lambda: kind(config)), "self_attn|mlp")
    return {"text_model." + name.removeprefix("text_model."): each for name, each in found.items()}


def kohya(start: str, shapes: dict[str, tuple[int, int]]) -> Tensors:
    tensors: Tensors = {}
    for name, (outputs, inputs) in shapes.items():
        path = start + name.replace(".", "_")
        tensors[f"{path}.lora_down.weight"] = torch.ones(1, inputs).half()
        tensors[f"{path}.lora_up.weight"] = torch.ones(outputs, 1).half()
        tensors[f"{path}.alpha"] = torch.tensor(1.0)
    return tensors


def dotted(start: str, shapes: dict[str, tuple[int, int]]) -> Tensors:
    tensors: Tensors = {}
    for name, (outputs, inputs) in shapes.items():
        tensors[start + name + AB[0]] = torch.ones(1, inputs).half()
        tensors[start + name + AB[1]] = torch.ones(outputs, 1).half()
    return tensors


def in_original(shapes: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    return {
        unet_name(f"{name}.weight", 2, [True, True, False]).removesuffix(".weight"): each
        for name, each in shapes.items()
    }


def transformer(name: str, pattern: str, **settings: object) -> dict[str, tuple[int, int]]:
    return linears(on_meta(lambda: getattr(diffusers, name)(**settings)), pattern)


FLUX = {f"double_blocks.{n}.{kind}": (4, 3072) for n in range(19) for kind in ("img_attn.qkv",)} | {
    f"single_blocks.{n}.linear1": (4, 3072) for n in range(38)
}
"""The names of Black Forest Labs, which kohya's trainer and ComfyUI use."""
SD3_BLOCKS = {f"joint_blocks.{n}.x_block.attn.qkv": (4, 1536) for n in range(24)}


def of_unets() -> dict[str, tuple[str, Callable[[], Tensors]]]:
    """The family and the tensors of files for bases with a UNet."""
    return {
        "sd1, kohya": (
            "sd1",
            lambda: kohya("lora_unet_", unet(SD1)) | kohya("lora_te_", text(768, 12)),
        ),
        "sd1, text alone": ("sd1", lambda: kohya("lora_te_", text(768, 12))),
        "sd2, kohya": (
            "sd2",
            lambda: kohya("lora_unet_", unet(SD2)) | kohya("lora_te_", text(1024, 23)),
        ),
        "sd2, diffusers": ("sd2", lambda: dotted("unet.", unet(SD2))),
        "sdxl, kohya": (
            "sdxl",
            lambda: (
                kohya("lora_unet_", in_original(unet(SDXL)))
                | kohya("lora_te1_", text(768, 12))
                | kohya("lora_te2_", text(1280, 32))
            ),
        ),
        "sdxl, few layers": ("sdxl", few_of_sdxl),
        "sdxl, diffusers": ("sdxl", lambda: dotted("unet.", unet(SDXL))),
        "sdxl, peft": ("sdxl", lambda: dotted("base_model.model.", unet(SDXL))),
        "sdxl, ComfyUI": ("sdxl", lambda: dotted("diffusion_model.", in_original(unet(SDXL)))),
        "cascade": ("cascade", lambda: kohya("lora_prior_unet_", {"down_blocks.0.0.x": (4, 4)})),
    }


def few_of_sdxl() -> Tensors:
    """The attention to the text in first layers: the names are those of 1.x."""
    return {
        name: tensor
        for name, tensor in kohya("lora_unet_", unet(SDXL)).items()
        if "transformer_blocks_0_attn2" in name
    }


def sd3() -> dict[str, tuple[int, int]]:
    return transformer("SD3Transformer2DModel", "attn", **SD3)


def flux() -> dict[str, tuple[int, int]]:
    return transformer("FluxTransformer2DModel", "attn|proj_out", num_layers=2)


def qwen_image() -> dict[str, tuple[int, int]]:
    return transformer("QwenImageTransformer2DModel", "attn|mlp", num_layers=2)


def of_transformers() -> dict[str, tuple[str, Callable[[], Tensors]]]:
    """The family and the tensors of files for bases with a transformer."""
    z_image = {f"layers.{number}.attention.to_q": (4, 3840) for number in range(30)}
    wan = {"blocks.0.cross_attn.k": (4, 5120)}
    return {
        "sd3, diffusers": ("sd3", lambda: dotted("transformer.", sd3())),
        "sd3, kohya": ("sd3", lambda: kohya("lora_unet_", SD3_BLOCKS)),
        "sd3, ComfyUI": ("sd3", lambda: dotted("diffusion_model.", SD3_BLOCKS)),
        "flux, kohya": ("flux", lambda: kohya("lora_unet_", FLUX)),
        "flux, ai-toolkit": ("flux", lambda: dotted("transformer.", flux())),
        "flux, OneTrainer": ("flux", lambda: kohya("lora_transformer_", flux())),
        "flux, ComfyUI": ("flux", lambda: dotted("diffusion_model.", FLUX)),
        "flux, peft": ("flux", lambda: dotted("base_model.model.", flux())),
        "qwen-image": ("qwen-image", lambda: dotted("transformer.", qwen_image())),
        "z-image": ("z-image", lambda: dotted("diffusion_model.", z_image)),
        "wan": ("video", lambda: dotted("diffusion_model.", wan)),
    }


FILES = of_unets() | of_transformers()
WANTED = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "Stable Diffusion XL",
    "sd3": "Stable Diffusion 3",
    "flux": "Flux",
    "qwen-image": "Qwen-Image",
    "z-image": "Z-Image",
    "video": "Wan or Anima",
    "cascade": "Stable Cascade",
}


@pytest.mark.parametrize("kind", FILES)
def test_the_family_is_told_and_other_bases_are_refused(
    base: BaseModel, tmp_path: Path, kind: str
) -> None:
    family, tensors = FILES[kind]
    made = tensors()
    read = read_foreign(write(tmp_path / "mi.safetensors", made, {}))
    assert read.family == family
    assert read.unread == 0
    assert sum(len(each.parts) for each in read.modules.values()) == sum(
        not key.endswith(".alpha") for key in made
    )
    with pytest.raises(LoraFileError, match=WANTED[family]), apply_foreign(base, read):
        raise AssertionError("it was put on the base")


@pytest.mark.parametrize(
    ("key", "value", "family"),
    [
        ("modelspec.architecture", "stable-diffusion-v1/lora", "sd1"),
        ("modelspec.architecture", "stable-diffusion-xl-v1-base/lora", "sdxl"),
        ("ss_base_model_version", "sdxl_base_v1-0", "sdxl"),
        ("ss_base_model_version", "sd_1.5", "sd1"),
        ("ss_base_model_version", "sd_v2", "sd2"),
        ("modelspec.architecture", "flux-1-dev/lora", "flux"),
        ("modelspec.architecture", "something", "unknown"),
    ],
)
def test_without_other_signs_the_metadata_tell_the_family(
    tmp_path: Path, key: str, value: str, family: str
) -> None:
    tensors = kohya("lora_unet_", {"mid_block.attentions.0.proj_in": (32, 32)})
    assert read_foreign(write(tmp_path / "mi.safetensors", tensors, {key: value})).family == family


def test_shapes_are_believed_before_metadata(tmp_path: Path) -> None:
    metadata = {"modelspec.architecture": "stable-diffusion-v1/lora"}
    tensors = FILES["sdxl, few layers"][1]()
    assert read_foreign(write(tmp_path / "mi.safetensors", tensors, metadata)).family == "sdxl"


def test_the_sentence_names_both_bases(base: BaseModel, tmp_path: Path) -> None:
    path = write(tmp_path / "mi.safetensors", FILES["sdxl, kohya"][1](), {})
    with pytest.raises(LoraFileError) as raised, apply_foreign(base, read_foreign(path)):
        pass
    assert str(raised.value) == (
        f"mi.safetensors: this LoRA is for Stable Diffusion XL, and base {base.name} is none; give "
        "the base that it was trained on with --base"
    )
