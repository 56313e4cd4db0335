"""Read, check, write and merge LoRA files, without peft and without diffusers' LoRA code.

In memory a LoRA has the module names of kohya's trainer, which A1111, Forge and ComfyUI read
(`lora_unet_down_blocks_0_...`, `lora_te_text_model_encoder_layers_0_...`) and which diffusers reads
too; the weight update of a module is `alpha / rank * up @ down`. Files may also have the names of
diffusers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from tuner.errors import UnusableFileError
from tuner.models.families.family import Component
from tuner.models.families.layer_names import known_names, plain_name
from tuner.models.metadata import adapter_settings
from tuner.storage import replacing
from tuner.text import show

_KOHYA_KEY = re.compile(
    r"(lora_(?:unet|te[12]?)_\w+)\.(lora_down\.weight|lora_up\.weight|alpha|dora_scale)"
)
_PEFT_KEY = re.compile(
    r"(unet|text_encoder|text_encoder_2)\.([\w.]+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.weight)?"
)
_PEFT_PARTS = {"lora_A": "down", "lora_B": "up", "lora_magnitude_vector": "magnitude"}
_PEFT_METADATA = "lora_adapter_metadata"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32)


class LoraFileError(UnusableFileError):
    """A LoRA file that is missing, broken, or made for another model."""


@dataclass(frozen=True)
class LoraModule:
    """The update of one layer: down (rank, in, ...), up (out, rank, ...).

    `magnitude` (out,) is that of DoRA (Liu et al. 2024, equation 5): the length of each row of the
    updated weight. None: a plain LoRA.
    """

    down: torch.Tensor
    up: torch.Tensor
    alpha: float
    magnitude: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        """The number of rows of `down`."""
        return int(self.down.shape[0])

    def update(self) -> torch.Tensor:
        """Return the float32 matrix (out, in * ...) that is added to the layer's weight."""
        scale = self.alpha / self.rank
        return scale * (self.up.float().flatten(1) @ self.down.float().flatten(1))

    def updated(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the updated `weight` (out, in, ...) as a float32 matrix (out, in * ...).

        Rows are along the output axis, as in peft; LyCORIS calls this `wd_on_out`.
        """
        whole = weight.float().flatten(1) + self.update().to(weight.device)
        if self.magnitude is None:
            return whole
        length = self.magnitude.float().to(weight.device).flatten() / whole.norm(dim=1)
        lengthened: torch.Tensor = whole * length[:, None]
        return lengthened


@dataclass(frozen=True)
class LoraFile:
    """A whole LoRA: its modules by kohya name, and the metadata of the header."""

    modules: Mapping[str, LoraModule]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_file(path: Path) -> LoraFile:
    """Read a LoRA in kohya's or diffusers' names and check all of it.

    Raises LoraFileError for a path that is no .safetensors file, a truncated file, unknown keys, a
    missing `up` or `down`, ranks that disagree, and values that are not finite.
    """
    if path.suffix != ".safetensors":
        raise LoraFileError(f"{path.name}: a LoRA is read from .safetensors only")
    if not path.is_file():
        raise LoraFileError(f"no LoRA file {path}")
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = dict(opened.metadata() or {})
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError) as error:
        raise LoraFileError(f"{path.name} is no whole safetensors file: {error}") from error
    halves = _by_module(path, tensors, metadata)
    modules = {name: _module(path, name, parts) for name, parts in halves.items()}
    return LoraFile(modules, metadata)


def write_file(path: Path, lora: LoraFile) -> None:
    """Write `lora` in kohya names as float16, atomically."""
    tensors: dict[str, torch.Tensor] = {}
    for name, module in lora.modules.items():
        tensors[f"{name}.lora_down.weight"] = _half(module.down)
        tensors[f"{name}.lora_up.weight"] = _half(module.up)
        tensors[f"{name}.alpha"] = torch.tensor(float(module.alpha))
        if module.magnitude is not None:
            column = module.magnitude.reshape(-1, *[1] * (module.down.ndim - 1))
            tensors[f"{name}.dora_scale"] = _single(column)
    with replacing(path) as temporary:
        # Not save_file: only the owner may read its files.
        temporary.write_bytes(to_bytes(tensors, metadata=dict(lora.metadata)))


def write_diffusers_file(path: Path, lora: LoraFile, dotted: Mapping[str, str]) -> None:
    """Write `lora` in the names of diffusers as float16, atomically.

    `dotted` has the layer of each kohya name, as `unet.NAME`, `text_encoder.NAME` and so on.
    `lora_B` has alpha / rank in it, and all modules are padded with zeros to one rank: the update
    is `lora_B @ lora_A` in every version of diffusers. Version 0.32 finds no alpha in such a file,
    and takes the rank of its first module for the alpha of all.
    """
    rank = max(module.rank for module in lora.modules.values())
    tensors: dict[str, torch.Tensor] = {}
    for name, module in lora.modules.items():
        down, up = padded(module.down, 0, rank), padded(module.up.float(), 1, rank)
        tensors[f"{dotted[name]}.lora_A.weight"] = _half(down)
        tensors[f"{dotted[name]}.lora_B.weight"] = _half(up * (module.alpha / module.rank))
        if module.magnitude is not None:
            # peft keeps a row for a convolution and a plain vector for a matrix.
            flat = module.magnitude.flatten()
            shape = flat.shape if module.down.ndim == 2 else (1, -1, 1, 1)
            # transformers expects another key in the text encoder than peft does elsewhere.
            ending = ".weight" if dotted[name].startswith("text_encoder") else ""
            key = f"{dotted[name]}.lora_magnitude_vector{ending}"
            tensors[key] = _single(flat.reshape(shape))
    with replacing(path) as temporary:
        temporary.write_bytes(to_bytes(tensors, metadata=dict(lora.metadata)))


def padded(half: torch.Tensor, axis: int, rank: int) -> torch.Tensor:
    """Return one half of a LoRA with zeros up to `rank` on its rank's axis."""
    shape = list(half.shape)
    shape[axis] = rank - shape[axis]
    return torch.cat([half, half.new_zeros(shape)], dim=axis)


def payload_sha256(path: Path) -> str:
    """Return the SHA-256 in hex of the tensors of a safetensors file, without its header."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        file.seek(8 + header)
        return hashlib.file_digest(file, "sha256").hexdigest()


def layers(component: str, model: torch.nn.Module) -> dict[str, str]:
    """Return the dotted name of every layer of `model` that has a weight, by its names in files.

    A layer has several: those of diffusers' blocks and those of the original layout's.
    """
    return {
        known: name
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), torch.Tensor)
        for known in known_names(component, name, model)
    }


@torch.no_grad()
def merge(
    lora: LoraFile,
    models: Mapping[Component, torch.nn.Module],
    updated: Callable[[LoraModule, torch.Tensor], torch.Tensor] = LoraModule.updated,
) -> None:
    """Add `lora` to the weights of a plain model: `W += alpha / rank * up @ down`, then DoRA.

    An independent way to load a LoRA, used to check the others. `updated` computes the new weight
    of a layer, as another program does. Raises LoraFileError if a module of the file has no layer
    of its shape.
    """
    targets = {
        name: model.get_submodule(dotted)
        for component, model in models.items()
        for name, dotted in layers(component, model).items()
    }
    strangers = sorted(set(lora.modules) - set(targets))
    if strangers:
        raise LoraFileError(
            f"{len(strangers)} of {len(lora.modules)} modules are not in this base, "
            f"first: {strangers[0]}"
        )
    for name, module in lora.modules.items():
        weight = targets[name].weight
        assert isinstance(weight, torch.Tensor)
        update = module.update()
        if update.numel() != weight.numel() or update.shape[0] != weight.shape[0]:
            raise LoraFileError(
                f"{name}: the file updates {tuple(update.shape)}, the base has "
                f"{tuple(weight.shape)}; the LoRA was made for another base"
            )
        weight.copy_(updated(module, weight).reshape(weight.shape))


def _by_module(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> dict[str, dict[str, torch.Tensor]]:
    if (adapter := adapter_settings(metadata.get(_PEFT_METADATA, "{}"))) is None:
        raise LoraFileError(f"{path.name}: {_PEFT_METADATA} in its header is no JSON of settings")
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        if kohya := _KOHYA_KEY.fullmatch(key):
            name = kohya[1]
            part = kohya[2].split(".")[0].removeprefix("lora_")
            part = "magnitude" if part == "dora_scale" else part
            halves.setdefault(name, {})[part] = tensor
        elif peft := _PEFT_KEY.fullmatch(key):
            parts = halves.setdefault(plain_name(peft[1], peft[2]), {})
            parts[_PEFT_PARTS[peft[3]]] = tensor
            if (alpha := _peft_alpha(adapter, peft[1], peft[2])) is not None:
                parts["alpha"] = torch.tensor(alpha)
        else:
            raise LoraFileError(
                f"{path.name}: key {show(key)} is no LoRA of a Stable Diffusion 1.x, 2.x or XL "
                "(expected lora_unet_..., lora_te_..., lora_te1_... or lora_te2_... with "
                "lora_down, lora_up and alpha)"
            )
    if not halves:
        raise LoraFileError(f"{path.name} holds no LoRA")
    return halves


def _module(path: Path, name: str, parts: Mapping[str, torch.Tensor]) -> LoraModule:
    if "down" not in parts or "up" not in parts:
        raise LoraFileError(f"{path.name}: {name} has only {' and '.join(sorted(parts))}")
    down, up = parts["down"], parts["up"]
    if down.ndim < 2 or up.ndim < 2 or up.shape[1] != down.shape[0]:
        raise LoraFileError(
            f"{path.name}: {name} has down {tuple(down.shape)} and up {tuple(up.shape)}: "
            "their ranks disagree"
        )
    alpha = parts.get("alpha", torch.tensor(float(down.shape[0])))
    magnitude = parts.get("magnitude")
    if magnitude is not None and magnitude.numel() != up.shape[0]:
        raise LoraFileError(
            f"{path.name}: {name} has a DoRA magnitude of {tuple(magnitude.shape)}, expected "
            f"{up.shape[0]} values, one for each output; none along the inputs are supported"
        )
    for part in (down, up, alpha, *([] if magnitude is None else [magnitude])):
        if not part.isfinite().all():
            raise LoraFileError(f"{path.name}: {name} holds values that are not finite")
    if down.dtype not in _FLOATS or up.dtype not in _FLOATS or alpha.numel() != 1:
        raise LoraFileError(f"{path.name}: {name} is not made of floats with one alpha")
    return LoraModule(down, up, float(alpha), None if magnitude is None else magnitude.flatten())


def _half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float16).contiguous()


def _single(tensor: torch.Tensor) -> torch.Tensor:
    # float32: one number per output costs little, and it scales all weights of its row.
    return tensor.detach().to("cpu", torch.float32).contiguous()


def _peft_alpha(adapter: Mapping[str, object], component: str, module: str) -> float | None:
    pattern = adapter.get(f"{component}.alpha_pattern")
    alpha = adapter.get(f"{component}.lora_alpha")
    if isinstance(pattern, dict) and module in pattern:
        alpha = pattern[module]
    return float(alpha) if isinstance(alpha, int | float) else None
