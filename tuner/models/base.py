"""Load a base: the mannequin, a diffusers folder, a hub id, or a single .safetensors checkpoint.

The base is frozen here, before anything can be attached to it, and stays frozen. Pickled weights
and code from a hub are never loaded. Its family opens it and computes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers.utils.logging as diffusers_logging
import torch
import transformers.utils.logging as transformers_logging
from diffusers import DDIMScheduler, DiffusionPipeline

from tuner.errors import MissingModelError, TunerError
from tuner.models.checkpoint import check_checkpoint, read_checkpoint
from tuner.models.families import family_of
from tuner.models.families.family import Component, Family, TextStates
from tuner.models.memory_errors import is_out_of_memory
from tuner.models.stored.hub import fetch
from tuner.models.stored.layout import check_folder
from tuner.models.stored.prediction import Prediction, chosen_prediction, scheduler_prediction
from tuner.models.stored.weight_files import not_finite
from tuner.space.base_name import ParsedBase, mannequin_weights, parse_base
from tuner.storage.tensor_cache import TensorCache, weights_digest

_LATENT_SIDE = 64
"""Side of the latents of Stable Diffusion 1.x, for a configuration that names none."""


@dataclass(eq=False)
class BaseModel:
    """A frozen base on its device.

    `native_size` is the edge in pixels that its UNet was trained at; `clip_skip` the layer of its
    text encoder, counted from the last (1), from which prompts are read if no file names one.
    `tensor_cache` keeps its latents and text embeddings of training pictures and captions; None:
    nothing is kept. `prediction` is what the UNet predicts and where that was read; the pipeline's
    scheduler says the same. With `compiles`, training and sampling run the UNet compiled
    (`tuner.models.compiled`); with `graphs`, steps on a GPU are CUDA graphs where they can be
    (`tuner.training.graphs`). Two bases are equal only if they are the same object, so that a base
    can be the key of a cache.
    """

    name: str
    pipeline: Any = field(repr=False)
    device: torch.device
    native_size: int
    clip_skip: int = 1
    tensor_cache: TensorCache | None = field(default=None, repr=False)
    prediction: Prediction | None = None
    compiles: bool = False
    graphs: bool = True
    compiled_unet: Callable[..., Any] | None = field(default=None, repr=False)

    def keep_at(self, folder: Path) -> None:
        """Keep latents and text embeddings in `folder`; call this before any training."""
        encoders = torch.nn.ModuleList(self.encoders.values())
        parts = {"vae": self.pipeline.vae, "text_encoder": encoders}
        self.tensor_cache = TensorCache(
            folder, {name: weights_digest(part) for name, part in parts.items()}
        )

    @property
    def family(self) -> Family:
        """The module of `tuner.models.families` that knows its pipeline."""
        return family_of(type(self.pipeline).__name__)

    @property
    def encoders(self) -> dict[Component, Any]:
        """Its text encoders, by the name of the part."""
        return self.family.encoders(self.pipeline)

    @property
    def networks(self) -> dict[Component, torch.nn.Module]:
        """The networks that training can change."""
        return {"unet": self.pipeline.unet, **self.encoders}

    def tokens(self, captions: Sequence[str], chunks: int | None = None) -> torch.Tensor:
        """Return the tokens of captions as its family has them, on its device."""
        return self.family.tokens(self.pipeline, captions, chunks).to(self.device)

    def text_states(self, tokens: torch.Tensor, clip_skip: int) -> TextStates:
        """Return the states that its own text encoders make of `tokens`."""
        return self.family.text_states([*self.encoders.values()], tokens, clip_skip)

    def kohya_name(self, component: Component, dotted: str) -> str:
        """Return the name of a layer in a LoRA file."""
        return self.family.kohya_name(component, dotted, self.networks[component])

    @property
    def layers(self) -> int:
        """The number of layers of its text encoder; of two it is that of the shorter one."""
        encoders = (getattr(self.pipeline, each.part) for each in self.family.LAYOUT.encoders)
        return min(int(encoder.config.num_hidden_layers) for encoder in encoders)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the frozen weights: float32 on a CPU, half precision on a GPU."""
        dtype: torch.dtype = self.pipeline.unet.dtype
        return dtype

    @property
    def device_name(self) -> str:
        """Name of the device for people: of a GPU its model, else the kind (`cpu`)."""
        if self.device.type == "cuda":
            return str(torch.cuda.get_device_name(self.device))
        return self.device.type


def load_base(base: str, device: str | None = None, prediction: str | None = None) -> BaseModel:
    """Load the base that `base` names, frozen, on `device` (default: CUDA if there is one).

    `base` is a name as `tuner.space.base_name.parse_base` reads it, `prediction` the
    `base_prediction` of a search space; None: it is read from the base. HF_HUB_OFFLINE=1 limits hub
    ids to what is in the hub's cache. Raises MissingModelError for a base that cannot be found or
    read, ConfigError for pickled weights, another architecture or weights that are not finite.
    """
    parsed = parse_base(base)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = _dtype(place)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        family, pipeline, kind = _open(base, parsed, dtype, prediction)
    except TunerError:
        raise
    except Exception as error:  # the libraries raise errors of any kind on foreign files
        if is_out_of_memory(error):
            raise
        raise MissingModelError(_unreadable(base, parsed, error)) from error
    pipeline.scheduler = _with_prediction(pipeline.scheduler, kind)
    pipeline.set_progress_bar_config(disable=True)
    for name in family.LAYOUT.stems:
        part = getattr(pipeline, name)
        part.requires_grad_(False)
        part.eval()
        _require_finite(base, name, part)
    pipeline.to(place)
    family.prepare(pipeline)
    side = pipeline.unet.config.sample_size
    latent_side = side if isinstance(side, int) else _LATENT_SIDE
    native_size = latent_side * int(pipeline.vae_scale_factor)
    return BaseModel(base, pipeline, place, native_size, prediction=kind)


def _dtype(device: torch.device) -> torch.dtype:
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _open(
    base: str, parsed: ParsedBase, dtype: torch.dtype, prediction: str | None
) -> tuple[Family, Any, Prediction]:
    if parsed.kind == "file" and parsed.path:
        file = read_checkpoint(parsed.path)
        check_checkpoint(base, file)
        family = family_of(file.layout.pipeline)
        kind = file.prediction(prediction)
        return family, family.open_file(parsed.path, file.config, dtype), kind
    folder = _folder(base, parsed)
    if parsed.kind == "folder":
        DiffusionPipeline.load_config(str(folder))  # its error says what is missing
    checked = check_folder(base, folder)
    family = family_of(checked.layout.pipeline)
    chosen = chosen_prediction(prediction) or scheduler_prediction(base, checked.scheduler)
    return family, family.open_folder(folder, dtype, checked.variant), chosen


def _folder(base: str, parsed: ParsedBase) -> Path:
    if parsed.kind == "mannequin":
        return mannequin_weights()
    if parsed.path is not None:
        return parsed.path
    return fetch(base, parsed)


def _with_prediction(scheduler: Any, prediction: Prediction) -> Any:
    """Return the base's scheduler, changed if it says another prediction than `prediction`.

    Training, sampling and exports read it there. A scheduler that does not know zero terminal SNR
    is replaced by one that does.
    """
    wanted = prediction.as_scheduler
    config = scheduler.config
    if all(config.get(name, False) == value for name, value in wanted.items()):
        return scheduler
    if not prediction.zero_snr and "rescale_betas_zero_snr" not in config:
        return scheduler.from_config(config, prediction_type=wanted["prediction_type"])
    kind = type(scheduler) if "rescale_betas_zero_snr" in config else DDIMScheduler
    # Sampling has to begin at the last timestep, which alone has no signal (Lin et al. 2023).
    spacing = {"timestep_spacing": "trailing"} if prediction.zero_snr else {}
    return kind.from_config(config, **wanted, **spacing)


def _require_finite(base: str, name: str, part: torch.nn.Module) -> None:
    for weight, values in part.named_parameters():
        if not values.isfinite().all():
            raise not_finite(base, name, weight)


def _unreadable(base: str, parsed: ParsedBase, error: Exception) -> str:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if parsed.kind == "file":
        return f"base {base} could not be opened as a single file: {first_line}"
    return f"base {base} is no readable diffusers folder: {first_line}"


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


def bfloat16_products(device: torch.device) -> torch.autocast:
    """Return a context in which a CPU multiplies in bfloat16, if it does that faster.

    Weights and latents stay float32. A GPU's weights have half precision already.
    """
    faster = device.type == "cpu" and multiplies_bfloat16(device)
    return torch.autocast("cpu", torch.bfloat16, enabled=faster)


def product_dtype(device: torch.device, weights: torch.dtype) -> torch.dtype:
    """Return the dtype of products now: autocast's where it is on, else that of the weights."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return weights
