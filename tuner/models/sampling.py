"""Draw the suite with the base, or with a LoRA or weights that were trained on it.

The noise of a cell depends only on its prompt's place and its seed: every trial begins from the
same noise, whatever the batches, so that differences between trials are paired.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from metrics.contract import Image, Sample
from tuner.errors import DivergedError
from tuner.events import Progress
from tuner.models import method
from tuner.models.base import BaseModel, bfloat16_products
from tuner.models.compiled import compiled
from tuner.models.families import family_of
from tuner.models.families.family import TextStates, joined
from tuner.models.memory_errors import halved_until_it_fits
from tuner.models.noise import cell_generator
from tuner.models.on_cpu import quick_on_cpu
from tuner.models.pipelines import LARGEST_BATCH, PipelineBase, draw as draw_with_pipeline
from tuner.models.text_encoder import chunks_of
from tuner.space import SuiteConfig
from tuner.storage.folder import RungFolder

_LARGEST_BATCH = 26
"""Pictures in a batch. On a processor core each takes 7 to 9 % less time than in batches of 13
(benchmarks/rung_end.py); Progress comes between batches."""

_CPU_BYTES = 4 * 2**30

_DPM = {"algorithm_type": "dpmsolver++", "solver_order": 2}
_DDIM = {"clip_sample": False, "set_alpha_to_one": False}
"""Settings of DDIM in Stable Diffusion's own configuration; `steps_offset` of 1 belongs to all."""

_SAMPLERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, _DDIM),  # Song et al. 2021
    "dpm++": (DPMSolverMultistepScheduler, _DPM),  # Lu et al. 2022, A1111's DPM++ 2M
    "dpm++_karras": (DPMSolverMultistepScheduler, _DPM | {"use_karras_sigmas": True}),
    "euler": (EulerDiscreteScheduler, {}),  # Karras et al. 2022, algorithm 2 without churn
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),  # Karras et al. 2022; two predictions a step
    "unipc": (UniPCMultistepScheduler, {}),  # Zhao et al. 2023
}
"""The suite's samplers: the scheduler class of diffusers and its settings."""

_OF_BASE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
)
"""Settings of the base's scheduler that its UNet was trained with. All others describe a way of
sampling, which is the suite's."""


def sample_batches(
    base: BaseModel,
    suite: SuiteConfig,
    lora: method.Trained | None,
    folder: RungFolder,
    seeds: int | None = None,
    most: int | None = None,
) -> Generator[tuple[list[Sample], Progress], None, None]:
    """Draw the suite, or each prompt's first `seeds` seeds of it; yield up to `most` at a time.

    Without `most` it is as many as memory allows. `lora` is the file of a LoRA or of whole weights;
    None draws the base. The samples' paths are in `folder`, numbered by their place in the whole
    suite; the caller writes them there once they are scored. Raises DivergedError for pictures that
    are not finite numbers (they would be saved as black), LoraFileError or WeightsError for a file
    that does not fit.
    """
    cells, places = suite.cells(), suite.places(seeds)
    start, drawn = time.monotonic(), 0
    with closing(draw_cells(base, suite, lora, places, most)) as batches:
        for images in batches:
            batch = [
                Sample(*cells[place], image, folder.sample(place))
                for place, image in zip(places[drawn:], images, strict=False)
            ]
            drawn += len(batch)
            speed = drawn / (time.monotonic() - start)
            yield batch, Progress(drawn, len(places), speed)


def draw_cells(
    base: BaseModel,
    suite: SuiteConfig,
    lora: method.Trained | None,
    indices: Sequence[int],
    most: int | None = None,
) -> Generator[list[Image], None, None]:
    """Draw the suite's cells `indices` and yield the pictures in batches of up to `most`.

    Without `most` it is as many as memory allows. When memory runs out the batch is halved, down
    to one picture; then the error is raised. `lora` and the other errors are those of
    `sample_batches`.
    """
    batch = min(batch_size(base, suite.image_size), most or len(indices), len(indices))
    clip_skip = method.clip_skip(base, lora)
    left = indices
    # The base alone is drawn once in a study: compiling would take longer than it saves.
    fast = nullcontext() if lora is None else compiled(base)
    with method.loaded(base, lora), fast:
        draw_batch = _drawing(base, suite, indices, clip_skip)
        while left:
            # A cell's noise does not depend on its batch.
            images, batch = halved_until_it_fits(partial(_draw_first, draw_batch, left), batch)
            left = left[len(images) :]
            yield images


def _draw_first(
    draw_batch: Callable[[Sequence[int]], list[Image]], indices: Sequence[int], count: int
) -> list[Image]:
    return draw_batch(indices[:count])


def _drawing(
    base: BaseModel, suite: SuiteConfig, indices: Sequence[int], clip_skip: int
) -> Callable[[Sequence[int]], list[Image]]:
    """Return the function that draws a batch of the cells `indices`; their texts are encoded."""
    if isinstance(base, PipelineBase):
        return partial(draw_with_pipeline, base, suite)
    texts = encoded(base.pipeline, suite, indices, clip_skip)
    return partial(draw, base.pipeline, suite, texts=texts)


def draw(
    pipeline: Any,
    suite: SuiteConfig,
    indices: Sequence[int],
    clip_skip: int = 1,
    *,
    exact: bool = False,
    texts: Mapping[str, TextStates] | None = None,
) -> list[Image]:
    """Draw the suite's cells `indices` in one batch with the pipeline as it is.

    `texts` are the results of `encoded` for these or more cells; None: they are encoded here, by
    the layer `clip_skip`. With `exact` all is computed in the precision of the weights. Raises
    DivergedError for pictures that are not finite.
    """
    cells = suite.cells()
    if texts is None:
        texts = encoded(pipeline, suite, indices, clip_skip, exact=exact)
    width, height = suite.image_size
    positive = joined([texts[cells[index][0].text] for index in indices])
    negative = joined([texts[suite.negative]] * len(indices))
    family = family_of(type(pipeline).__name__)
    sampling = family.with_scheduler(pipeline, scheduler_of(pipeline, suite.sampler))
    sampling.set_progress_bar_config(disable=True)
    if not suite.negative:
        negative = family.unprompted(pipeline, negative)
    start = torch.stack([noise(pipeline, suite, index) for index in indices])
    with nullcontext() if exact else quickly(pipeline, start.shape[-2:].numel()):
        latents = sampling(
            **family.prompt_arguments(positive, negative),
            latents=start,
            generator=[cell_generator(suite, index, 1) for index in indices],
            width=width,
            height=height,
            num_inference_steps=suite.steps,
            guidance_scale=suite.guidance_scale,
            output_type="latent",
        ).images
    with torch.no_grad():
        pictures = family.decode(pipeline.vae, latents)
    if not pictures.isfinite().all():
        raise DivergedError("a sample is not finite: there is no picture")
    pixels = (pictures * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1)
    return list(pixels.numpy())


@contextmanager
def quickly(pipeline: Any, places: int) -> Iterator[None]:
    """Compute the UNet as a training step does, for latents of `places`; a GPU's stays as it is."""
    unet = pipeline.unet
    with bfloat16_products(unet.device):
        half = torch.is_autocast_enabled(unet.device.type)
        with quick_on_cpu(unet, places, half=half):
            yield


@torch.no_grad()
def encoded(
    pipeline: Any,
    suite: SuiteConfig,
    indices: Sequence[int],
    clip_skip: int = 1,
    *,
    exact: bool = False,
) -> dict[str, TextStates]:
    """Return the states of the texts of the suite's cells `indices`, by text, each encoded once.

    They are those of the text encoder's layer `clip_skip`, counted from the last (1), as training
    computes them: diffusers cuts prompts after 75 tokens; its own `clip_skip` ignores negative
    prompts, and fails with transformers 5. With `exact` they are computed in the precision of the
    weights.
    """
    cells = suite.cells()
    texts = list(dict.fromkeys([suite.negative, *(cells[index][0].text for index in indices)]))
    # The chunks of the whole suite, so that a picture does not depend on the cells beside it.
    longest = [suite.negative, *(prompt.text for prompt in suite.prompts)]
    chunks = chunks_of(pipeline.tokenizer, longest)
    family = family_of(type(pipeline).__name__)
    encoders = [*family.encoders(pipeline).values()]
    tokens = family.tokens(pipeline, texts, chunks).to(pipeline.unet.device)
    with nullcontext() if exact else bfloat16_products(pipeline.unet.device):
        states = joined(
            [
                family.text_states(encoders, part, clip_skip)
                for part in torch.split(tokens, _LARGEST_BATCH)
            ]
        ).to(pipeline.unet.dtype)
    return {text: states.rows(slice(row, row + 1)) for row, text in enumerate(texts)}


def noise(pipeline: Any, suite: SuiteConfig, index: int) -> torch.Tensor:
    """Return the latent noise (channels, height, width) that cell `index` begins from."""
    width, height = suite.image_size
    factor = int(pipeline.vae_scale_factor)
    shape = (int(pipeline.unet.config.in_channels), height // factor, width // factor)
    generator = cell_generator(suite, index)
    return torch.randn(shape, generator=generator).to(pipeline.unet.dtype)


def batch_size(base: BaseModel, size: tuple[int, int]) -> int:
    """Return how many pictures of `size` (width, height) fit in memory at a time, at least 1."""
    if isinstance(base, PipelineBase):
        return LARGEST_BATCH
    factor = int(base.pipeline.vae_scale_factor)
    places = (size[0] // factor) * (size[1] // factor)
    channels = int(base.pipeline.unet.config.block_out_channels[0])
    free = _CPU_BYTES
    if base.device.type == "cuda":
        free = torch.cuda.mem_get_info(base.device)[0] // 2
    return max(1, min(_LARGEST_BATCH, free // (places * channels * base.family.SAMPLE_BYTES)))


def scheduler_of(pipeline: Any, sampler: str) -> Any:
    """Return the scheduler of a suite's sampler for a base.

    Of the base's own scheduler only its noise levels and prediction type are taken over, no setting
    of the sampling such as Karras' noise levels or a spacing of the timesteps.
    """
    kind, settings = _SAMPLERS[sampler]
    config = pipeline.scheduler.config
    own = {name: config[name] for name in _OF_BASE if name in config} | {"steps_offset": 1}
    if not config.get("rescale_betas_zero_snr", False):
        return kind(**own, **settings)
    # With zero terminal SNR only the last timestep has no signal: sampling begins there.
    own["timestep_spacing"] = "trailing"
    if kind is not HeunDiscreteScheduler:
        return kind(**own, **settings, rescale_betas_zero_snr=True)
    return kind(**own | {"trained_betas": _rescaled(own)}, **settings)


def _rescaled(own: dict[str, Any]) -> list[float]:
    """Return the betas with zero terminal SNR for a scheduler that cannot compute them itself."""
    known = EulerDiscreteScheduler(**own, rescale_betas_zero_snr=True)
    # Its last product is not 0 but very small, so that the first noise level is finite.
    product = known.alphas_cumprod.double()
    before = torch.cat([torch.ones(1, dtype=product.dtype), product[:-1]])
    betas: list[float] = (1 - product / before).tolist()
    return betas
