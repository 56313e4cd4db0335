"""LoRA files as each trainer writes them, by its rules for names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file

from tuner.models import BaseModel, adapter
from tuner.models.families.layer_names import plain_name
from tuner.models.lora_file import LoraFile, LoraModule, layers
from tuner.models.stored.original_names import unet_name

Tensors = dict[str, torch.Tensor]
Name = Callable[[str, str], str]
"""The name of a layer in a file, from its component and its dotted name."""

RANK, ALPHA = 4, 6.0


def random_lora(base: BaseModel, words: str, rank: int = RANK, alpha: float = ALPHA) -> LoraFile:
    """A LoRA with random weights on the layers that `words` name, by kohya name."""
    random = torch.Generator().manual_seed(1)
    modules = {}
    for component, model in adapter.models(base).items():
        for name in adapter.targets(model, component, words):
            weight = model.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            ones = [1] * (weight.ndim - 2)
            down = torch.randn(rank, *weight.shape[1:], generator=random) * 0.1
            up = torch.randn(weight.shape[0], rank, *ones, generator=random) * 0.1
            modules[plain_name(component, name)] = LoraModule(down, up, alpha)
    return LoraFile(modules)


def dotted(base: BaseModel) -> dict[str, tuple[str, str]]:
    """The component and the dotted name, with `text_model.`, of each layer by kohya name."""
    return {
        kohya: (component, name if component == "unet" else "text_model." + _inner(name))
        for component, model in adapter.models(base).items()
        for kohya, name in layers(component, model).items()
    }


def _inner(name: str) -> str:
    return name.removeprefix("text_model.")


def original(base: BaseModel, name: str) -> str:
    """The name of a UNet's layer in the original layout."""
    config = base.pipeline.unet.config
    attentive = ["CrossAttn" in kind for kind in config.up_block_types]
    return unet_name(f"{name}.weight", config.layers_per_block, attentive).removesuffix(".weight")


def tensors_of(
    base: BaseModel,
    lora: LoraFile,
    name: Name,
    endings: tuple[str, str] = (".lora_down.weight", ".lora_up.weight"),
    *,
    alpha: bool = True,
) -> Tensors:
    """The tensors of a file whose layers are called `name`, its halves with these endings."""
    tensors: Tensors = {}
    known = dotted(base)
    for kohya, module in lora.modules.items():
        start = name(*known[kohya])
        tensors[start + endings[0]] = module.down
        tensors[start + endings[1]] = module.up
        if alpha:
            tensors[f"{start}.alpha"] = torch.tensor(module.alpha)
    return tensors


def flat(unet: str, text: str) -> Name:
    """Names with underscores after these prefixes."""
    return lambda component, name: (unet if component == "unet" else text) + name.replace(".", "_")


def after(unet: str, text: str) -> Name:
    """Dotted names after these prefixes."""
    return lambda component, name: (unet if component == "unet" else text) + name


def in_original(base: BaseModel, unet: str, text: str, between: str) -> Name:
    """Names of the original layout for the UNet."""

    def name(component: str, layer: str) -> str:
        path = original(base, layer) if component == "unet" else layer
        return (unet if component == "unet" else text) + path.replace(".", between)

    return name


def processors(unet: str) -> Name:
    """Names of the attention processors with which diffusers trained in 2023."""
    text = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}

    def name(component: str, layer: str) -> str:
        layer = layer.removesuffix(".0") if component == "unet" else layer
        before, _, last = layer.rpartition(".")
        if component == "unet":
            return f"{unet}{before}.processor.{last}"
        return f"text_encoder.{before}.{text[last]}"

    return name


DOWN_UP = (".lora_down.weight", ".lora_up.weight")
AB = (".lora_A.weight", ".lora_B.weight")
DIFFUSERS = after("unet.", "text_encoder.")
EVERYTHING = "attention+feed_forward+convolutions"


def written(base: BaseModel, trainer: str) -> tuple[LoraFile, Tensors, dict[str, str]]:
    """A random LoRA, its tensors as `trainer` writes them, and the metadata that it writes."""
    if trainer.startswith("old diffusers"):
        lora = random_lora(base, "attention", alpha=RANK)
        name = processors("" if "bare" in trainer else "unet.")
        endings = ("_lora.down.weight", "_lora.up.weight")
        return lora, tensors_of(base, lora, name, endings, alpha=False), {}
    lora = random_lora(base, EVERYTHING)
    if trainer == "OneTrainer, original":  # it has no names for text encoders there
        unet = {name: each for name, each in lora.modules.items() if "lora_unet" in name}
        lora = LoraFile(unet)
    header = HEADERS.get(trainer, {})
    if trainer == "diffusers":
        tensors = tensors_of(base, lora, DIFFUSERS, AB, alpha=False)
        return lora, tensors, diffusers_header(base, lora, ALPHA)
    if trainer == "diffusers, down and up":
        return lora, _linear_layers(base, lora), header
    name, endings = names_of(base, trainer)
    return lora, tensors_of(base, lora, name, endings), header


def names_of(base: BaseModel, trainer: str) -> tuple[Name, tuple[str, str]]:
    """The names of layers, and the endings of both halves."""
    comfyui, clip = "diffusion_model.", "text_encoders.clip_l.transformer."
    names: dict[str, tuple[Name, tuple[str, str]]] = {
        "kohya, te1": (flat("lora_unet_", "lora_te1_"), DOWN_UP),
        "kohya, original blocks": (in_original(base, "lora_unet_", "lora_te_", "_"), DOWN_UP),
        "lycoris": (flat("lycoris_", "lycoris_"), DOWN_UP),
        "diffusers, alpha beside": (DIFFUSERS, AB),
        "ComfyUI": (in_original(base, comfyui, "clip_l.transformer.", "."), DOWN_UP),
        "OneTrainer for ComfyUI": (in_original(base, comfyui, clip, "."), AB),
        "OneTrainer, original": (in_original(base, "", "", "."), AB),
        "ComfyUI, diffusers' blocks": (after(comfyui, clip), AB),
    }
    return names.get(trainer, (flat("lora_unet_", "lora_te_"), DOWN_UP))


HEADERS = {
    "kohya": {"ss_sd_scripts_commit_hash": "0", "ss_network_module": "networks.lora"},
    "OneTrainer": {"ot_branch": "master", "ot_revision": "0"},
    "OneTrainer, original": {"ot_branch": "master", "ot_revision": "0"},
    "OneTrainer for ComfyUI": {"ot_branch": "master", "ot_revision": "0"},
    "ai-toolkit": {"software": json.dumps({"name": "ai-toolkit"})},
}
TRAINERS = (
    *("kohya", "OneTrainer", "ai-toolkit", "kohya, te1", "kohya, original blocks", "lycoris"),
    *("diffusers", "diffusers, alpha beside", "diffusers, down and up", "old diffusers"),
    *(
        "old diffusers, bare",
        "ComfyUI",
        "OneTrainer for ComfyUI",
        "OneTrainer, original",
        "ComfyUI, diffusers' blocks",
    ),
)


def diffusers_header(base: BaseModel, lora: LoraFile, alpha: float) -> dict[str, str]:
    """The settings that diffusers writes into the header."""
    rank = next(iter(lora.modules.values())).rank
    known = [dotted(base)[name] for name in lora.modules]
    parts: dict[str, object] = {}
    for part in ("unet", "text_encoder"):
        own = (name for component, name in known if component == part)
        names = sorted({".".join(name.split(".")[-2:]) for name in own})
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=names)  # type: ignore[arg-type]
        parts |= {f"{part}.{name}": value for name, value in config.to_dict().items()}
    return {"format": "pt", "lora_adapter_metadata": json.dumps(parts, default=list)}


def _linear_layers(base: BaseModel, lora: LoraFile) -> Tensors:
    unet = {name: each for name, each in lora.modules.items() if name.startswith("lora_unet_")}
    text = {name: each for name, each in lora.modules.items() if name not in unet}
    lines = (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight")
    tensors = tensors_of(base, LoraFile(unet), DIFFUSERS, (".lora.down.weight", ".lora.up.weight"))
    return tensors | tensors_of(base, LoraFile(text), DIFFUSERS, lines)


def write(path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> Path:
    """Write the file."""
    save_file(
        {key: value.clone().contiguous() for key, value in tensors.items()}, path, metadata or None
    )
    return path
