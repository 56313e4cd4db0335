"""What a single `.safetensors` file holds, by the names and shapes of its tensors.

Files that are no base that tuner trains are named as what they are, with what to use instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tuner.models.foreign.names import is_lora
from tuner.models.stored.architecture import Shape
from tuner.models.stored.distilled import GUIDANCE
from tuner.models.stored.families import (
    LAYOUTS,
    STABLE_DIFFUSION,
    STABLE_DIFFUSION_XL,
    Encoder,
    Layout,
)
from tuner.models.stored.layout import LATENT_CHANNELS, other_inputs
from tuner.models.stored.original_names import UNET, VAE
from tuner.text import counted

_FIRST = f"{UNET}input_blocks.0.0.weight"
_LABELS = f"{UNET}label_emb.0.0.weight"
"""The layer of SDXL that takes the pooled text and the sizes of a picture."""

_DTYPES = "float32, float16, bfloat16 or plain float8"
_STAGE, _CONDITIONER = "cond_stage_model.", "conditioner.embedders."
"""Beginnings of the names of text encoders in files of Stable Diffusion 1.x and 2.x, and of XL."""

_REFINER = f"{_CONDITIONER}0.model."
_NOISE_LEVELS = ("edm_mean", "edm_vpred.sigma_max")
"""Keys of Playground 2.5 and CosXL, which were trained with the noise levels of EDM."""

_CODES = (".absmax", ".quant_map", ".qweight", ".scale_weight", ".weight_scale", "scaled_fp8")
"""Ends of names that a quantisation adds: bitsandbytes, GPTQ, ComfyUI's scaled float8."""

_TRAINED = f"tuner trains {' and '.join(layout.name for layout in LAYOUTS)}"
_WHOLE = f"{_TRAINED}, and needs the whole checkpoint"
_FAMILIES = {
    "Stable Diffusion 3": ("joint_blocks.",),
    "Flux": ("double_blocks.",),
    "AuraFlow": ("double_layers.",),
    "Z-Image or Lumina": ("cap_embedder.",),
    "Qwen-Image": ("transformer_blocks.0.img_mod.",),
    "Wan, a model of videos": ("blocks.0.cross_attn.",),
    "Stable Cascade": ("down_blocks.0.0.channelwise.", "clip_txt_mapper."),
}
"""Other families, by the first part of their tensors' names after that of the UNet, if any."""

_OTHERS = {
    "a part of a LoRA": ("lora_",),
    "the trained weights of a run, of which `tuner export` writes a model": (
        "unet.",
        "text_encoder.",
    ),
    "a ControlNet": ("control_model.", "controlnet_cond_embedding.", "input_hint_block."),
    "a UNet alone": (UNET, "input_blocks.", "diffusion_model."),
    "a part of a diffusers folder": ("down_blocks.", "encoder.", "text_model."),
    "a VAE": ("decoder.", "first_stage_model."),
    "text encoders alone": (_STAGE, _CONDITIONER, "text_encoders."),
}
"""Contents of other files, by the first part of their tensors' names."""


def layout_in(names: Iterable[str]) -> Layout:
    """Return the family of a checkpoint, by the names of its tensors."""
    names = list(names)
    if _has(names, _CONDITIONER) or (_LABELS in names and not _has(names, _STAGE)):
        return STABLE_DIFFUSION_XL
    return STABLE_DIFFUSION


def refusal(shapes: Mapping[str, Shape]) -> str | None:
    """Return why a file is no base, None for a base."""
    if is_lora(shapes):
        return "is a LoRA, no base: `tuner judge` takes it without --as-base, and --base its base"
    if any(name.endswith(_CODES) for name in shapes):
        return f"is quantised; give it with {_DTYPES} weights"
    for what, starts in _FAMILIES.items():
        if any(_has(shapes, start) or _has(shapes, UNET + start) for start in starts):
            return f"is a {what}; {_TRAINED}; `tuner judge` draws it from its diffusers folder"
    if _FIRST in shapes:
        return _unfit(shapes)
    for what, starts in _OTHERS.items():
        if any(_has(shapes, start) for start in starts):
            return f"is {what}; {_WHOLE}"
    return f"holds no known Stable Diffusion ({counted(len(shapes), 'tensor')}); {_WHOLE}"


def _unfit(shapes: Mapping[str, Shape]) -> str | None:
    """Return why a file with the UNet of a Stable Diffusion is no base, None for a base."""
    first, made_from = shapes[_FIRST], "give the model that it was made from"
    layout = layout_in(shapes)
    if len(first) != 4:
        return (
            f"has a first layer of shape {first}, as quantised weights do; give it with {_DTYPES} "
            "weights"
        )
    if _has(shapes, _REFINER):
        return (
            f"is the refiner of {layout.name}, which only changes pictures; give the base, such as "
            f"{layout.example}"
        )
    if first[1] != LATENT_CHANNELS:
        return other_inputs(first[1])
    if _has(shapes, UNET + GUIDANCE):
        return f"was distilled to draw in few steps (LCM), which training would undo; {made_from}"
    if _LABELS in shapes and layout is STABLE_DIFFUSION:
        return f"takes a picture or a class beside the text, as unCLIP does; {made_from}"
    if any(key in shapes for key in _NOISE_LEVELS):
        return f"was trained with the noise levels of EDM, allowed: those of {layout.name}"
    if missing := _missing(layout, shapes):
        return (
            f"has no {' and no '.join(missing)}, but the UNet of a {layout.name}; give the whole "
            "checkpoint, or a diffusers folder with all parts"
        )
    return None


def _missing(layout: Layout, shapes: Mapping[str, Shape]) -> list[str]:
    """Return the words for the parts that a checkpoint lacks."""
    lacking = [] if _has(shapes, VAE) else ["VAE"]
    absent = [encoder for encoder in layout.encoders if not _stored(encoder, shapes)]
    if len(absent) == len(layout.encoders):
        return [*lacking, "text encoder"]
    return [*lacking, *(encoder.part.replace("_", " ") for encoder in absent)]


def _stored(encoder: Encoder, shapes: Mapping[str, Shape]) -> bool:
    starts = [start for start in (encoder.clip, encoder.open_clip) if start]
    return any(_has(shapes, start) for start in starts)


def _has(names: Iterable[str], start: str) -> bool:
    return any(name.startswith(start) for name in names)
