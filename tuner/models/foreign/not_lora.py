"""Tell files that are no LoRA from LoRAs, each with what it is and what to do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tuner.models.foreign.names import is_lora, other_method
from tuner.models.lora_file import LoraFileError
from tuner.text import counted, show

_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")

_AS_BASE = "judge it with --as-base"
_CONTENTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        f"is a whole checkpoint, no LoRA: {_AS_BASE}",
        ("model.diffusion_model.", "cond_stage_model."),
    ),
    ("is a ControlNet, no LoRA", ("control_model.", "controlnet_")),
    ("is an IP-Adapter, no LoRA", ("image_proj", "ip_adapter.")),
    ("is a VAE, no LoRA", ("first_stage_model.", "decoder.", "encoder.conv_in")),
    (
        "is one part of a base, no LoRA: put it into its diffusers folder, and judge that with "
        "--as-base",
        ("down_blocks.", "time_embedding.", "text_model.", "encoder.", "diffusion_model."),
    ),
    ("is a textual inversion, no LoRA", ("emb_params", "clip_g", "clip_l", "string_to_param")),
)
"""What other files are, by the first letters of any tensor's name."""

_TRAINED = "tuner.contents"


def require_readable(path: Path) -> None:
    """Raise LoraFileError, with what to do, for a path that is no safetensors file."""
    if path.is_dir():
        if (path / "model_index.json").is_file():
            raise LoraFileError(f"{path.name} is a whole model in diffusers' layout: {_AS_BASE}")
        raise LoraFileError(
            f"{path.name} is a folder without adapter_model.safetensors or "
            "pytorch_lora_weights.safetensors"
        )
    if not path.exists():
        raise LoraFileError(f"no LoRA file {path}")
    if path.suffix.lower() in _PICKLES:
        raise LoraFileError(
            f"{path.name} is a pickle, which can run code when it is read; it is never opened: "
            "write it as .safetensors in the program that made it"
        )
    if path.suffix.lower() != ".safetensors":
        raise LoraFileError(f"{path.name}: a LoRA is read from .safetensors only")


def require_lora(path: Path, names: Sequence[str], metadata: Mapping[str, str]) -> None:
    """Raise LoraFileError for a file that holds something else, by the names of its tensors."""
    if not names:
        raise LoraFileError(f"{path.name} is empty: no tensor is in it")
    if is_lora(names):
        return
    if _TRAINED in metadata:
        raise LoraFileError(
            f"{path.name} is the whole weights of a tuner run: `tuner export` writes a model of "
            "them, which is judged with --as-base"
        )
    for what, starts in _CONTENTS:
        if any(name.startswith(starts) for name in names):
            raise LoraFileError(f"{path.name} {what}")
    known = {other_method(name) for name in names} - {"nothing that is known"}
    if known:
        raise LoraFileError(f"{path.name} is {' and '.join(sorted(known))}, which is not read")
    raise LoraFileError(
        f"{path.name} holds no LoRA that is known ({counted(len(names), 'tensor')}, first: "
        f"{show(names[0])})"
    )
