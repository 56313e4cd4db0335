"""Bases that tuner does not train: any text-to-image pipeline whose LoRA loader diffusers has.

Stable Diffusion 3, Flux and others are opened by diffusers from their folders, drawn with
their own sampler settings, and LoRAs are put on them by their own `load_lora_weights`.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers.utils.logging as diffusers_logging
import numpy as np
import torch
import transformers.utils.logging as transformers_logging
from diffusers import DiffusionPipeline
from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

from metrics.contract import Image
from tuner.errors import ConfigError, DivergedError, MissingModelError
from tuner.models.base import BaseModel
from tuner.models.foreign.file import read_foreign
from tuner.models.lora_file import LoraFileError
from tuner.models.memory_errors import is_out_of_memory
from tuner.models.noise import cell_generator
from tuner.models.stored.distilled import sign_of_distillation
from tuner.models.stored.families import layout_named
from tuner.models.stored.hub import is_offline, settings_folder
from tuner.models.stored.index import INDEX, read_config
from tuner.space import SuiteConfig
from tuner.space.base_name import parse_base
from tuner.space.sizes import native_size

LARGEST_BATCH = 4
"""Pictures in a batch before memory was seen to run out: those of large pipelines fill a GPU."""

_ADAPTER = "judged"

_TEXT_TO_IMAGE = frozenset(AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values())

_FAMILIES = {
    "StableDiffusionXL": "sdxl",
    "StableDiffusion3": "sd3",
    "Flux": "flux",
    "QwenImage": "qwen-image",
    "ZImage": "z-image",
}
"""The family of LoRAs by the beginning of the pipeline's name."""


@dataclass(eq=False)
class PipelineBase(BaseModel):
    """A base of a family that tuner does not train, frozen on its device.

    `steps` and `guidance_scale` replace the defaults of its pipeline; None: they hold.
    """

    steps: int | None = None
    guidance_scale: float | None = None

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of its weights: float32 on a CPU, bfloat16 on a GPU."""
        dtype: torch.dtype = self.pipeline.dtype
        return dtype

    @property
    def kind(self) -> str:
        """The name of its pipeline's class."""
        return type(self.pipeline).__name__

    @property
    def settings(self) -> str:
        """What it is and how it is drawn, for people."""
        steps, guidance = self.steps, self.guidance_scale
        parameters = _parameters(self.pipeline)
        steps = parameters["num_inference_steps"].default if steps is None else steps
        if guidance is None and "guidance_scale" in parameters:
            guidance = parameters["guidance_scale"].default
        more = "" if guidance is None else f", guidance {guidance:g}"
        return f"is a {self.kind}, drawn with its own sampler, {steps} steps{more}"


def has_family(base: str) -> bool:
    """Return True for a base that tuner opens by itself, as those that it trains.

    Single files count as such, and so does what is no base at all. A base of a known family that
    was distilled is not trained: diffusers draws it. Raises ConfigError for a folder whose
    model_index.json is broken.
    """
    parsed = parse_base(base)
    if parsed.kind in ("mannequin", "file"):
        return True
    folder = parsed.path or settings_folder(parsed)
    path = None if folder is None else folder / INDEX
    if folder is None or path is None or not path.is_file():
        return True  # load_base tells what is wrong with it
    try:
        kind = json.loads(path.read_text("utf-8-sig"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"base {base}: its {INDEX} is broken ({error})") from None
    if layout_named(kind) is None:
        return False
    try:
        unet, scheduler = (read_config(base, folder, part) for part in ("unet", "scheduler"))
    except MissingModelError:
        return True
    return sign_of_distillation(unet, scheduler) is None


def load_pipeline(
    base: str,
    device: str | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
) -> PipelineBase:
    """Load the pipeline that `base` names, frozen, on `device` (default: CUDA if there is one).

    Pickled weights and code from a hub are never loaded. Raises MissingModelError for a base that
    cannot be read, ConfigError for a pipeline that draws no pictures from prompts alone or takes no
    LoRA.
    """
    parsed = parse_base(base)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        pipeline = DiffusionPipeline.from_pretrained(
            str(parsed.path or parsed.hub_id),
            revision=parsed.revision,
            dtype=torch.bfloat16 if place.type == "cuda" else torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=parsed.path is not None or is_offline(),
        )
    except Exception as error:  # the libraries raise errors of any kind on foreign files
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingModelError(f"base {base} is no readable pipeline: {reason}") from error
    _require_prompts(base, pipeline)
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False)
            part.eval()
    pipeline.to(place)
    size = native_size(str(parsed.path)) if parsed.path else 0
    return PipelineBase(base, pipeline, place, size, steps=steps, guidance_scale=guidance_scale)


def _require_prompts(base: str, pipeline: Any) -> None:
    kind, parameters = type(pipeline).__name__, _parameters(pipeline)
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is not inspect.Parameter.VAR_KEYWORD
        and name != "prompt"
    ]
    changes_pictures = "image" in parameters and type(pipeline) not in _TEXT_TO_IMAGE
    if "prompt" not in parameters or needed or changes_pictures:
        raise ConfigError(f"base {base} is a {kind}, allowed: one that draws from a prompt alone")
    if not hasattr(pipeline, "load_lora_weights"):
        raise ConfigError(f"base {base} is a {kind}, for which diffusers loads no LoRA")


def _parameters(pipeline: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters of a pipeline's call by name."""
    parameters = inspect.signature(type(pipeline).__call__).parameters
    return {name: parameter for name, parameter in parameters.items() if name != "self"}


@torch.no_grad()
def draw(base: PipelineBase, suite: SuiteConfig, indices: Sequence[int]) -> list[Image]:
    """Draw the suite's cells `indices` in one batch with the pipeline as it is.

    The negative prompt is left out where the pipeline takes none. Raises DivergedError for pictures
    that are not finite.
    """
    cells, (width, height) = suite.cells(), suite.image_size
    wanted: dict[str, Any] = {
        "num_inference_steps": base.steps,
        "guidance_scale": base.guidance_scale,
        "negative_prompt": [suite.negative] * len(indices) if suite.negative else None,
        "width": width,
        "height": height,
    }
    known = _parameters(base.pipeline)
    given = {name: value for name, value in wanted.items() if name in known and value is not None}
    pictures = base.pipeline(
        prompt=[cells[index][0].text for index in indices],
        generator=[cell_generator(suite, index) for index in indices],
        output_type="np",
        **given,
    ).images
    if not np.isfinite(pictures).all():
        raise DivergedError("a sample is not finite: there is no picture")
    return list((np.asarray(pictures) * 255).round().astype(np.uint8))


@contextmanager
def with_lora(base: PipelineBase, path: Path, strength: float) -> Iterator[None]:
    """Put the LoRA at `path` on the pipeline at `strength` for a while, by its own loader.

    Raises LoraFileError for a LoRA of another family, and if the loader fails or leaves a tensor
    out.
    """
    _require_family(base, path)
    pipeline = base.pipeline
    try:
        try:
            with _unused_keys() as complaints:
                pipeline.load_lora_weights(
                    str(path.parent), weight_name=path.name, adapter_name=_ADAPTER
                )
        except Exception as error:  # the loaders raise errors of any kind on foreign files
            if is_out_of_memory(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LoraFileError(f"{path.name} does not fit a {base.kind}: {reason}") from error
        attached = {name for names in pipeline.get_list_adapters().values() for name in names}
        if complaints or _ADAPTER not in attached:
            reason = complaints[0] if complaints else "none of its tensors is of this pipeline"
            raise LoraFileError(f"{path.name} does not fit a {base.kind}: {reason}")
        pipeline.set_adapters([_ADAPTER], adapter_weights=[strength])
        yield
    finally:
        pipeline.unload_lora_weights()


def _require_family(base: PipelineBase, path: Path) -> None:
    found = read_foreign(path).family
    families = [family for start, family in _FAMILIES.items() if base.kind.startswith(start)]
    if families and found not in ("unknown", families[0]):
        raise LoraFileError(
            f"{path.name} is a LoRA for {found}, and base {base.name} is a {base.kind}; give a "
            f"base of {found}"
        )


@contextmanager
def _unused_keys() -> Iterator[list[str]]:
    """Yield a list in which diffusers' warnings about tensors that it does not use are collected.

    It writes them into its log and goes on with the others.
    """
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = " ".join(record.getMessage().split())
            if "unexpected keys" in text or "nexpected key" in text:
                lines.append(text[:200])

    collector = Collector(logging.WARNING)
    logger = logging.getLogger("diffusers")
    before = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_warning()
    handlers, logger.handlers = logger.handlers, [collector]
    try:
        yield lines
    finally:
        logger.handlers = handlers
        diffusers_logging.set_verbosity(before)
