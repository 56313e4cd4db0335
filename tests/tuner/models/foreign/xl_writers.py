"""LoRA files for Stable Diffusion XL as each trainer writes them, by its rules for names."""

from __future__ import annotations

import json

from peft import LoraConfig

from tests.tuner.models.foreign.writers import (
    AB,
    ALPHA,
    DOWN_UP,
    EVERYTHING,
    RANK,
    Name,
    Tensors,
    dotted,
    original,
    random_lora,
    tensors_of,
)
from tuner.models import BaseModel
from tuner.models.lora_file import LoraFile

DIFFUSERS = {part: f"{part}." for part in ("unet", "text_encoder", "text_encoder_2")}
KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
_PEFT = "base_model.model."
_LINES = (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight")
_ATTENTION = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}

LAYOUTS = {
    "kohya": "kohya",
    "kohya, diffusers' blocks": "kohya",
    "diffusers": "diffusers",
    "diffusers, alpha beside": "diffusers",
    "diffusers, down and up": "old diffusers",
    "old diffusers": "old diffusers",
    "peft, part first": "peft",
    "peft, part last": "peft",
    "ComfyUI": "comfyui",
    "ComfyUI, text_encoders": "comfyui",
    "OneTrainer, original": "diffusers",
}
"""The layout that each naming is read as. OneTrainer and ai-toolkit write the second as well."""

WITHOUT_ALPHA = ("diffusers", "old diffusers", "peft, part first", "peft, part last")


def written(base: BaseModel, naming: str) -> tuple[LoraFile, Tensors, dict[str, str]]:
    """A random LoRA, its tensors in a naming, and the metadata that belong to it."""
    header = naming == "diffusers"
    alpha = ALPHA if header or naming not in WITHOUT_ALPHA else RANK
    words = "attention" if naming == "old diffusers" else EVERYTHING
    lora = random_lora(base, words, alpha=alpha)
    name, endings = names_of(base, naming)
    tensors = tensors_of(base, lora, name, endings, alpha=naming not in WITHOUT_ALPHA)
    return lora, tensors, settings_of(lora, ALPHA, base) if header else {}


def names_of(base: BaseModel, naming: str) -> tuple[Name, tuple[str, str]]:
    """The names of layers, and the endings of both halves."""
    comfyui = _starts("diffusion_model.", "clip_l.transformer.", "clip_g.transformer.")
    long = {part: "text_encoders." * (part != "unet") + start for part, start in comfyui.items()}
    first = {part: start + _PEFT for part, start in DIFFUSERS.items()}
    last = {part: _PEFT + start for part, start in DIFFUSERS.items()}
    omi = _starts("unet.", "clip_l.", "clip_g.")
    names: dict[str, tuple[Name, tuple[str, str]]] = {
        "kohya": (_flat(_original(base, KOHYA)), DOWN_UP),
        "kohya, diffusers' blocks": (_flat(_plain(KOHYA)), DOWN_UP),
        "diffusers": (_plain(DIFFUSERS), AB),
        "diffusers, alpha beside": (_plain(DIFFUSERS), AB),
        "diffusers, down and up": (_plain(DIFFUSERS), _LINES),
        "old diffusers": (_processor, ("_lora.down.weight", "_lora.up.weight")),
        "peft, part first": (_plain(first), AB),
        "peft, part last": (_plain(last), AB),
        "ComfyUI": (_original(base, comfyui), DOWN_UP),
        "ComfyUI, text_encoders": (_original(base, long), AB),
        "OneTrainer, original": (_original(base, omi), DOWN_UP),
    }
    return names[naming]


def settings_of(lora: LoraFile, alpha: float, base: BaseModel) -> dict[str, str]:
    """The settings that diffusers writes into the header."""
    parts: dict[str, object] = {}
    known = [dotted(base)[name] for name in lora.modules]
    for part in DIFFUSERS:
        own = (name for component, name in known if component == part)
        names = sorted({".".join(name.split(".")[-2:]) for name in own})
        config = LoraConfig(r=RANK, lora_alpha=alpha, target_modules=names)  # type: ignore[arg-type]
        parts |= {f"{part}.{name}": value for name, value in config.to_dict().items()}
    return {"format": "pt", "lora_adapter_metadata": json.dumps(parts, default=list)}


def _starts(*starts: str) -> dict[str, str]:
    return dict(zip(DIFFUSERS, starts, strict=True))


def _plain(starts: dict[str, str]) -> Name:
    """The names of diffusers after what stands before those of each part."""
    return lambda component, name: starts[component] + name


def _original(base: BaseModel, starts: dict[str, str]) -> Name:
    """The same with the blocks of the original layout."""
    return lambda component, name: (
        starts[component] + (original(base, name) if component == "unet" else name)
    )


def _flat(name: Name) -> Name:
    return lambda component, layer: name(component, layer).replace(".", "_")


def _processor(component: str, layer: str) -> str:
    """The names of attention processors in diffusers' scripts of July 2023."""
    before, _, last = layer.removesuffix(".0").rpartition(".")
    if component == "unet":
        return f"unet.{before}.processor.{last}"
    return f"{component}.{before}.{_ATTENTION[last]}"
