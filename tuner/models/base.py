"""Load a base: the mannequin, a diffusers folder, a hub id, or a single .safetensors checkpoint.

The base is frozen here, before anything can be attached to it, and stays frozen. Pickled weights
and code from a hub are never loaded. The safety checker is left out, because the judges examine
every picture themselves.
"""

from __future__ import annotations

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
from tuner.space.base_name import ParsedBase, mannequin_weights, parse_base
from tuner.storage.tensor_cache import TensorCache, weights_digest

_NO_CHECKER: dict[str, Any] = {
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}


@dataclass(eq=False)
class BaseModel:
    """A frozen Stable Diffusion on its device.

    `native_size` is the edge in pixels that its UNet was trained at; `clip_skip` the layer of its
    text encoder, counted from the last (1), from which prompts are read if no file names one.
    `tensor_cache` keeps its latents and text embeddings of training pictures and captions; None:
    nothing is kept. Two bases are equal only if they are the same object, so that a base can be
    the key of a cache.
    """

    name: str
    pipeline: StableDiffusionPipeline = field(repr=False)
    device: torch.device
    native_size: int
    clip_skip: int = 1
    tensor_cache: TensorCache | None = field(default=None, repr=False)

    def keep_at(self, folder: Path) -> None:
        """Keep latents and text embeddings in `folder`; call this before any training."""
        parts = {"vae": self.pipeline.vae, "text_encoder": self.pipeline.text_encoder}
        self.tensor_cache = TensorCache(
            folder, {name: weights_digest(part) for name, part in parts.items()}
        )

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the frozen weights: float32 on a CPU, half precision on a GPU."""
        dtype: torch.dtype = self.pipeline.unet.dtype
        return dtype


def load_base(base: str, device: str | None = None) -> BaseModel:
    """Load the base that `base` names, frozen, on `device` (default: CUDA if there is one).

    `base` is a name as `tuner.space.base_name.parse_base` reads it. HF_HUB_OFFLINE=1 limits hub ids
    to what is in the hub's cache. Raises MissingModelError for a base that cannot be found or
    read, ConfigError for pickled weights or another architecture.
    """
    parsed = parse_base(base)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = _dtype(place)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = _open(base, parsed, dtype)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise MissingModelError(_unreadable(base, parsed, error)) from error
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


def _open(base: str, parsed: ParsedBase, dtype: torch.dtype) -> StableDiffusionPipeline:
    if parsed.kind == "file" and parsed.path:
        return StableDiffusionPipeline.from_single_file(
            str(parsed.path),
            dtype=dtype,
            local_files_only=hub.HF_HUB_OFFLINE,
            **opening(read_checkpoint(parsed.path)),
            **_NO_CHECKER,
        )
    folder = mannequin_weights() if parsed.kind == "mannequin" else parsed.path
    source = parsed.hub_id or str(folder)
    where: dict[str, Any] = {"revision": parsed.revision, "local_files_only": hub.HF_HUB_OFFLINE}
    kind = StableDiffusionPipeline.load_config(source, **where).get("_class_name")
    if kind != StableDiffusionPipeline.__name__:
        raise ConfigError(
            f"base {base} is a {kind}; tuner trains Stable Diffusion 1.x and 2.x "
            "(StableDiffusionPipeline)"
        )
    return StableDiffusionPipeline.from_pretrained(
        source, dtype=dtype, use_safetensors=True, trust_remote_code=False, **where, **_NO_CHECKER
    )


def _unreadable(base: str, parsed: ParsedBase, error: Exception) -> str:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if parsed.kind == "folder":
        return f"base {base} is no readable diffusers folder: {first_line}"
    if parsed.kind == "file":
        return (
            f"base {base} could not be opened as a single file: {first_line} (Stable Diffusion 2.x "
            "needs its configuration from the hub; a diffusers folder needs no network)"
        )
    offline = " (HF_HUB_OFFLINE is set)" if hub.HF_HUB_OFFLINE else ""
    return f"base {base} is not here and could not be fetched{offline}: {first_line}"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return True if `device` multiplies bfloat16 faster than float32.

    A CPU with bfloat16 instructions trains 1.5 times as fast with them; any other converts each
    product there and back, and a step can take twenty times as long. torch before 2.10 does not
    report the instructions of a CPU.
    """
    if device.type == "cpu":
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
