"""Tell which base a LoRA was made for, by the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tuner.models.families.family import LoraFamily
from tuner.models.foreign.weights import Module

WORDS: Mapping[LoraFamily, str] = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "Stable Diffusion XL",
    "sdxl-refiner": "the refiner of Stable Diffusion XL",
    "sd3": "Stable Diffusion 3 or 3.5",
    "flux": "Flux",
    "qwen-image": "Qwen-Image",
    "z-image": "Z-Image or Lumina",
    "video": "a base with the blocks of Wan or Anima",
    "cascade": "Stable Cascade",
    "unknown": "a base that its names do not tell",
}

OWN: tuple[LoraFamily, ...] = ("sd1", "sd2", "sdxl", "unknown")
"""Families whose LoRAs may fit a base that tuner trains; the others need their own pipelines."""

TEXT_WIDTHS: Mapping[int, LoraFamily] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""The family by the width of the text embeddings."""

_REFINER_WIDTH = 1280
"""Width of the second text encoder of XL, which alone conditions the refiner."""

_NAMES: tuple[tuple[str, LoraFamily], ...] = (
    (r"lora_prior(_te)?_.*", "cascade"),
    (r"lora_\w+?_(double_blocks|single_blocks|single_transformer_blocks)_\d+_.*", "flux"),
    (r"lora_\w+?_joint_blocks_\d+_.*", "sd3"),
    (r"lora_\w+?_transformer_blocks_\d+_(img|txt)_(mlp|mod)_.*", "qwen-image"),
    (r"lora_(unet|transformer)_layers_\d+_(attention|feed_forward|adaLN).*", "z-image"),
    (r"lora_(unet|transformer)_blocks_\d+_(self_attn|cross_attn|attn1|attn2|ffn)_.*", "video"),
    (r"lora_unet_(add_embedding|label_emb)_.*", "sdxl"),
    (r"lora_unet_(down|up|mid|(in|out)put|middle)_blocks?_.*_transformer_blocks_[1-9].*", "sdxl"),
)
_JOINT = re.compile(r"lora_(?:unet|transformer)_transformer_blocks_(\d+)_.*")
_TEXT_INPUT = re.compile(r"lora_unet_(?!transformer_blocks).*_attn2_to_[kv]")
_UNET = re.compile(r"lora_unet_(down|up|mid|input|output|middle)_blocks?_.*")
_QWEN_BLOCKS = 38
"""Stable Diffusion 3.5 has up to 38 joint blocks, Qwen-Image 60, Flux 19."""
_WIDE = 3072
"""Width of the blocks of Flux and Qwen-Image."""

_ARCHITECTURES: tuple[tuple[str, LoraFamily], ...] = (
    (r"stable-diffusion-v1.*|sd_?v?1.*", "sd1"),
    (r"stable-diffusion-v2.*|sd_?v?2.*", "sd2"),
    (r"stable-diffusion-xl.*|sdxl.*", "sdxl"),
    (r"stable-diffusion-3.*|sd_?3.*", "sd3"),
    (r"flux.*|chroma.*", "flux"),
    (r"qwen.?image.*", "qwen-image"),
    (r"z.?image.*|lumina.*", "z-image"),
    (r"wan.*|hunyuan.?video.*|ltx.*", "video"),
    (r"stable-cascade.*", "cascade"),
)


def family(modules: Mapping[str, Module], metadata: Mapping[str, str]) -> LoraFamily:
    """Return the family of base that a LoRA was made for.

    Names decide first, then the width of the text embeddings, then the metadata: files are
    renamed, and their headers copied, more often than their shapes change.
    """
    if text_width(modules) == _REFINER_WIDTH:  # its names are XL's
        return "sdxl-refiner"
    for pattern, found in _NAMES:
        if any(re.fullmatch(pattern, name) for name in modules):
            return found
    if joint := _joint(modules):
        return joint
    if any(_UNET.fullmatch(name) for name in modules):
        if any(name.startswith("lora_te2_") for name in modules):
            return "sdxl"
    elif any(name.startswith("lora_te3_") for name in modules):
        return "sd3"
    return TEXT_WIDTHS.get(text_width(modules) or 0) or _told(metadata) or _by_text(modules)


def text_width(modules: Mapping[str, Module]) -> int | None:
    """Return the width of the text embeddings that the UNet's layers take; None if none does."""
    widths = {
        width
        for name, module in modules.items()
        if _TEXT_INPUT.fullmatch(name) and (width := module.inputs) is not None
    }
    return max(widths, default=None)


def _joint(modules: Mapping[str, Module]) -> LoraFamily | None:
    """Return the family of a transformer with joint attention in diffusers' names."""
    blocks = [int(match[1]) for name in modules if (match := _JOINT.fullmatch(name))]
    if not blocks:
        return None
    if max(blocks) >= _QWEN_BLOCKS:
        return "qwen-image"
    wide = any(module.inputs == _WIDE for name, module in modules.items() if _JOINT.fullmatch(name))
    if wide:  # the first blocks alone may be Flux's or Qwen-Image's
        return None
    return "sd3" if any("_attn_add_" in name or "_attn_to_" in name for name in modules) else None


def _told(metadata: Mapping[str, str]) -> LoraFamily | None:
    for key in ("modelspec.architecture", "ss_base_model_version"):
        value = metadata.get(key, "").lower()
        for pattern, found in _ARCHITECTURES:
            if re.fullmatch(pattern, value):
                return found
    return None


def _by_text(modules: Mapping[str, Module]) -> LoraFamily:
    """Return the family of a LoRA of text encoders alone, by their width."""
    if any(name.startswith("lora_te2_") for name in modules):
        return "sdxl"
    text = [each for name, each in modules.items() if name.startswith("lora_te_")]
    if len(text) != len(modules):
        return "unknown"
    widths = {width for each in text if (width := each.inputs) is not None}
    return TEXT_WIDTHS.get(min(widths, default=0), "unknown")
