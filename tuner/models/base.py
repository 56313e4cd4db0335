"""Load a base: the mannequin, a diffusers folder, a hub id, or a single .safetensors checkpoint.

The base is frozen here, before anything can be attached to it, and stays frozen. Pickled weights
and code from a hub are never loaded; the safety checker is left out, since the judges look at
every picture themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers.utils.logging as diffusers_logging
import torch
import transformers.utils.logging as transformers_logging
from diffusers import StableDiffusionPipeline
from huggingface_hub import constants as hub
from safetensors import SafetensorError

from tuner.errors import ConfigError, MissingModelError
from tuner.models.checkpoint import opening, read_checkpoint
from tuner.storage import shipped
from tuner.storage.tensor_cache import TensorCache, weights_digest

_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
_PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_SINGLE_FILE = ".safetensors"
_NO_CHECKER: dict[str, Any] = {
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}


@dataclass(eq=False)
class BaseModel:
    """A frozen Stable Diffusion on its device.

    `native_size` is the edge in pixels that its UNet was trained at; `clip_skip` the layer of its
    text encoder, counted from the last (1), from which prompts are read where no file says.
    `tensor_cache` has what it made of training pictures and captions before, None: nothing is
    kept. Two bases are equal only when they are the same object, so that caches can be kept by
    base.
    """

    name: str
    pipeline: StableDiffusionPipeline = field(repr=False)
    device: torch.device
    native_size: int
    clip_skip: int = 1
    tensor_cache: TensorCache | None = field(default=None, repr=False)

    def keep_at(self, folder: Path) -> None:
        """Keep latents and text embeddings in `folder`. To be asked before anything is trained."""
        parts = {"vae": self.pipeline.vae, "text_encoder": self.pipeline.text_encoder}
        self.tensor_cache = TensorCache(
            folder, {name: weights_digest(one) for name, one in parts.items()}
        )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the frozen weights: float32 on a CPU, half precision on a GPU."""
        dtype: torch.dtype = self.pipeline.unet.dtype
        return dtype


def load_base(base: str, device: str | None = None) -> BaseModel:
    """The base that `base` names, frozen, on `device` (default: CUDA if there is one).

    `base` is `mannequin`, a folder in diffusers layout, a `.safetensors` checkpoint, or a hub id
    (which HF_HUB_OFFLINE=1 limits to what is in the hub's cache), with `@` and a branch, tag or
    commit behind it where another than the main one is meant. Raises MissingModelError for a
    base that cannot be found or read, ConfigError for one of another architecture.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = _dtype(place)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = _open(base, dtype)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise MissingModelError(_unreadable(base, error)) from error
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False)
        part.eval()
    pipeline.to(place)
    native_size = int(pipeline.unet.config.sample_size) * int(pipeline.vae_scale_factor)
    return BaseModel(base, pipeline, place, native_size)


def _dtype(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _open(base: str, dtype: torch.dtype) -> StableDiffusionPipeline:
    path = Path(base).expanduser()
    if path.suffix in _PICKLES:
        raise ConfigError(f"base {base}: pickled weights can run code; give a .safetensors file")
    if path.is_file() and path.suffix == _SINGLE_FILE:
        return StableDiffusionPipeline.from_single_file(
            str(path),
            dtype=dtype,
            local_files_only=hub.HF_HUB_OFFLINE,
            **opening(read_checkpoint(path)),
            **_NO_CHECKER,
        )
    source, revision = _folder_or_hub_id(base, path)
    where: dict[str, Any] = {"revision": revision, "local_files_only": hub.HF_HUB_OFFLINE}
    kind = StableDiffusionPipeline.load_config(source, **where).get("_class_name")
    if kind != StableDiffusionPipeline.__name__:
        raise ConfigError(
            f"base {base} is a {kind}; tuner trains Stable Diffusion 1.x and 2.x "
            "(StableDiffusionPipeline)"
        )
    return StableDiffusionPipeline.from_pretrained(
        source,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        **where,
        **_NO_CHECKER,
    )


def _folder_or_hub_id(base: str, path: Path) -> tuple[str, str | None]:
    """What diffusers loads, and the revision of it."""
    if base == "mannequin":
        if not (shipped.BASE / "model_index.json").is_file():
            raise MissingModelError(
                "the mannequin's weights are not there: build them with `tuner build-mannequin`"
            )
        return str(shipped.BASE), None
    if path.is_dir():
        return str(path), None
    if named := _HUB_ID.fullmatch(base):
        return named[1], named[2]
    raise MissingModelError(
        f"no base {base!r}: give `mannequin`, a folder in diffusers layout, a .safetensors "
        "checkpoint, or a hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5"
    )


def _unreadable(base: str, error: Exception) -> str:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if Path(base).expanduser().is_dir():
        return f"base {base} is no readable diffusers folder: {first_line}"
    if Path(base).expanduser().is_file():
        return (
            f"base {base} could not be opened as a single file: {first_line} (Stable Diffusion 2.x "
            "needs its configuration from the hub; a diffusers folder needs nothing)"
        )
    offline = " (HF_HUB_OFFLINE is set)" if hub.HF_HUB_OFFLINE else ""
    return f"base {base} is neither here nor could it be fetched{offline}: {first_line}"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 are quicker there than those of float32.

    A CPU with instructions for them trains half as fast again with it; on any other each product
    is converted there and back, and a step can take twenty times as long. torch before 2.10 does
    not tell what a CPU has.
    """
    if device.type == "cpu":
        told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(told.get("avx512_bf16") or told.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
