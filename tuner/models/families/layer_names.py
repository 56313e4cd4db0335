"""Names of layers in LoRA files: those of diffusers, and those of the original layout."""

from __future__ import annotations

from typing import Any

from tuner.models.stored.original_names import SingleFileError, unet_name

_STARTS = {
    "unet": "lora_unet_",
    "text_encoder": "lora_te_text_model_",
    "text_encoder_2": "lora_te2_text_model_",
}
_FIRST_OF_TWO = "lora_te1_text_model_"
_PROJECTION = "lora_te2_text_projection"
"""It lies beside the level `text_model.`; OneTrainer trains it too."""


def plain_name(component: str, dotted: str) -> str:
    """Return kohya's name of the layer `dotted` of a network, in the blocks of diffusers.

    transformers dropped the level `text_model.` of CLIPTextModel in 5.6; the files keep it.
    """
    if component == "text_encoder_2" and dotted == "text_projection":
        return _PROJECTION
    own = dotted if component == "unet" else dotted.removeprefix("text_model.")
    return _STARTS[component] + own.replace(".", "_")


def original_name(dotted: str, unet: Any) -> str | None:
    """Return kohya's name of a UNet's layer in the blocks of the original layout.

    kohya's trainer writes it for Stable Diffusion XL, ComfyUI for all. None for a layer or a UNet
    that the original layout does not know.
    """
    config = getattr(unet, "config", None)
    kinds = getattr(config, "up_block_types", None)
    count = getattr(config, "layers_per_block", None)
    if not isinstance(count, int) or kinds is None:
        return None
    attentive = ["CrossAttn" in kind for kind in kinds]
    try:
        original = unet_name(f"{dotted}.weight", count, attentive)
    except (SingleFileError, KeyError, IndexError):
        return None
    return plain_name("unet", original.removesuffix(".weight"))


def known_names(component: str, dotted: str, model: Any) -> list[str]:
    """Return all names under which files have a layer, diffusers' first."""
    names = [plain_name(component, dotted)]
    if component == "unet" and (original := original_name(dotted, model)):
        names.append(original)
    if component == "text_encoder":
        names.append(_first_of_two(dotted))
    return names


def original_or_plain(component: str, dotted: str, model: Any) -> str:
    """Return the name that kohya's trainer writes for Stable Diffusion XL."""
    if component == "text_encoder":
        return _first_of_two(dotted)
    if component == "unet" and (original := original_name(dotted, model)):
        return original
    return plain_name(component, dotted)


def _first_of_two(dotted: str) -> str:
    return _FIRST_OF_TWO + dotted.removeprefix("text_model.").replace(".", "_")
