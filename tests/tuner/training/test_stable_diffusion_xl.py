"""Stable Diffusion XL on a tiny base: the loss, the settings, the files, and the samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import DDPMScheduler, StableDiffusionXLPipeline
from diffusers.training_utils import compute_snr
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional
from torchvision import transforms

from metrics.contract import Prompt
from tests.tuner.training.test_loop import run
from tuner.data import TrainingSet, read_folder
from tuner.models import BaseModel, adapter, draw, load_base, method
from tuner.models.sampling import noise, scheduler_of
from tuner.space import SuiteConfig, TrainConfig
from tuner.training.loop import Trainer
from tuner.training.run import ADAPTER, Batches, Run, batches_of

SMALL = TrainConfig(rank=2, batch_size=3, learning_rate=1e-2, resolution=64, empty_prompt=0.3)
WITH_TEXT = SMALL.model_copy(update={"text_encoder_ratio": 0.5})


@pytest.fixture(scope="module")
def xl(tiny_xl: Path) -> BaseModel:
    return load_base(str(tiny_xl), device="cpu")


@pytest.fixture(scope="module")
def odd_shapes(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Pictures of many sizes, so that each has other conditions."""
    folder = tmp_path_factory.mktemp("odd")
    random = np.random.default_rng(0)
    for number, (width, height) in enumerate([(80, 64), (40, 96), (64, 64), (33, 57), (120, 50)]):
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"1girl, red shirt, number {number}")
    return read_folder(folder)


@contextmanager
def predicting(base: BaseModel, kind: str) -> Iterator[None]:
    """Let the base's scheduler say that the UNet predicts `kind`."""
    before = base.pipeline.scheduler
    base.pipeline.scheduler = before.from_config(before.config, prediction_type=kind)
    try:
        yield
    finally:
        base.pipeline.scheduler = before


def the_script_s_loss(
    base: BaseModel, pictures: TrainingSet, config: TrainConfig, source: Batches, other: Batches
) -> torch.Tensor:
    """Return the loss of diffusers' train_text_to_image_lora_sdxl.py for the next batch.

    `other` draws the same random numbers as `source` will; all else is computed as there.
    """
    pipeline: StableDiffusionXLPipeline = base.pipeline
    batch = other.draw(config.batch_size)
    rows = other.rows(other.texts(0), batch, config.empty_prompt)
    width, height = config.size
    shape = (len(batch), 4, height // 8, width // 8)
    sampled, drawn = other.normal(shape), other.normal(shape)
    schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    steps = torch.randint(1000, (len(batch),), generator=other.random)

    sizes, corners = [], []
    for number in batch.tolist():
        image = Image.open(pictures.images[number].path).convert("RGB")
        sizes.append((image.height, image.width))
        image = transforms.Resize(width, transforms.InterpolationMode.LANCZOS)(image)
        top = max(0, round((image.height - height) / 2.0))
        left = max(0, round((image.width - width) / 2.0))
        corners.append((top, left))
    posterior = source.latents.of(batch)
    latents = posterior.mean + posterior.std * sampled

    def compute_time_ids(size: tuple[int, int], corner: tuple[int, int]) -> torch.Tensor:
        return torch.tensor([[*size, *corner, height, width]], dtype=torch.float32)

    time_ids = torch.cat([compute_time_ids(*pair) for pair in zip(sizes, corners, strict=True)])
    captions = [other.texts(0).captions[row] for row in rows.tolist()]
    hidden = []
    for tokenizer, encoder in (
        (pipeline.tokenizer, pipeline.text_encoder),
        (pipeline.tokenizer_2, pipeline.text_encoder_2),
    ):
        tokens = tokenizer(
            captions, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids
        encoded = encoder(tokens, output_hidden_states=True, return_dict=False)
        pooled = encoded[0]
        hidden.append(encoded[-1][-2])
    prediction = pipeline.unet(
        schedule.add_noise(latents, drawn, steps),
        steps,
        torch.cat(hidden, dim=-1),
        added_cond_kwargs={"time_ids": time_ids, "text_embeds": pooled},
        return_dict=False,
    )[0]
    goal = drawn
    if schedule.config.prediction_type == "v_prediction":
        goal = schedule.get_velocity(latents, drawn, steps)
    return the_script_s_mean(schedule, prediction, goal, steps, config.min_snr_gamma)


def the_script_s_mean(
    schedule: DDPMScheduler,
    prediction: torch.Tensor,
    goal: torch.Tensor,
    steps: torch.Tensor,
    gamma: float | None,
) -> torch.Tensor:
    """Return the loss of a prediction as the script computes it, with `--snr_gamma` or without."""
    if gamma is None:
        return functional.mse_loss(prediction.float(), goal.float(), reduction="mean")
    snr = compute_snr(schedule, steps)
    weights = torch.stack([snr, gamma * torch.ones_like(steps)], dim=1).min(dim=1)[0]
    weights = weights / (snr + 1 if schedule.config.prediction_type == "v_prediction" else snr)
    loss = functional.mse_loss(prediction.float(), goal.float(), reduction="none")
    weighted: torch.Tensor = (loss.mean(dim=[1, 2, 3]) * weights).mean()
    return weighted


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("gamma", [None, 5.0])
@torch.no_grad()
def test_the_loss_is_that_of_diffusers_script(
    xl: BaseModel, odd_shapes: TrainingSet, kind: str, gamma: float | None
) -> None:
    config = SMALL.model_copy(update={"min_snr_gamma": gamma})
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True)  # float32, as the reference
    with predicting(xl, kind):
        (source, _), (other, _) = (batches_of(xl, odd_shapes, config, 1)[0] for _ in range(2))
        try:
            training = Run(xl, accelerator, config, [(source, 1.0)], 1)
            trainer = Trainer(xl, accelerator, training)
            for _ in range(3):
                expected = the_script_s_loss(xl, odd_shapes, config, source, other)
                loss = trainer._loss(trainer._inputs(source, 0))
                torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
        finally:
            adapter.detach(xl, ADAPTER)
            AcceleratorState._reset_state(reset_partial_state=True)


def test_sizes_and_cuts_change_the_loss(xl: BaseModel, odd_shapes: TrainingSet) -> None:
    frames = batches_of(xl, odd_shapes, SMALL, 1)[0][0].latents.parts[0].frames
    # 80 x 64 is cut 8 pixels from the left; 40 x 96 becomes 64 x 153 and is cut 44 from the top.
    assert frames[0].tolist() == [64, 80, 0, 8, 64, 64]
    assert frames[1].tolist() == [96, 40, 44, 0, 64, 64]
    noisy, steps = torch.randn(2, 4, 8, 8), torch.tensor([10, 500])
    with torch.no_grad():
        states = xl.text_states(xl.tokens(["a", "b"]), 1)
        first, second = (
            xl.family.predict(xl.pipeline.unet, noisy, steps, states, rows)
            for rows in (frames[:2], frames[2:4])
        )
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"text_encoder_ratio": 0.5},
        {"text_encoder_ratio": 0.5, "text_encoder_2_ratio": 0.0},
        {"text_encoder_2_ratio": 0.5},
        {"clip_skip": 3},
        {"min_snr_gamma": 5.0},
        {"noise_offset": 0.5},
        {"use_dora": True},
        {"use_rslora": True},
        {"lora_dropout": 0.5},
        {"shuffle_tags": True, "tag_dropout": 0.2},
        {"target_modules": "attention+feed_forward+convolutions"},
        {"buckets": True},
        {"gradient_accumulation": 2},
        {"gradient_checkpointing": True},
        {"optimizer": "prodigy", "learning_rate": 1.0},
    ],
    ids=lambda values: "+".join(values) or "plain",
)
def test_every_setting_trains_what_it_names(
    xl: BaseModel, odd_shapes: TrainingSet, tmp_path: Path, values: dict[str, object]
) -> None:
    before = {name: value.clone() for name, value in xl.pipeline.unet.state_dict().items()}
    config = TrainConfig.model_validate(SMALL.model_dump() | values)
    path = run(xl, odd_shapes, config, tmp_path)[0].path
    tensors = load_file(path)
    starts = {key.split("_text_model_")[0] for key in tensors if "_text_model_" in key}
    wanted = {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
    assert starts == {wanted[name] for name in wanted if config.shares[name] > 0}
    ups = {key: value for key, value in tensors.items() if key.endswith("lora_up.weight")}
    # The last of three layers of the first encoder is never read; kohya's trainer has it too.
    still = {key for key, value in ups.items() if not value.any()}
    assert all(key.startswith("lora_te1_text_model_encoder_layers_2_") for key in still)
    assert all(value.isfinite().all() for value in ups.values())
    assert any(key.startswith("lora_unet_input_blocks_") for key in tensors)
    after = xl.pipeline.unet.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def plain_samples(
    folder: Path, lora: Path, suite: SuiteConfig, indices: list[int], **more: Any
) -> np.ndarray[Any, Any]:
    """Draw with diffusers alone: its pipeline, its LoRA loader, its encoding of prompts."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(str(folder), add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(str(lora))
    cells = suite.cells()
    latents = torch.stack([noise(pipeline, suite, index) for index in indices])
    pipeline.scheduler = scheduler_of(pipeline, suite.sampler)
    pictures = pipeline(
        prompt=[cells[index][0].text for index in indices],
        latents=latents,
        num_inference_steps=suite.steps,
        guidance_scale=suite.guidance_scale,
        width=64,
        height=64,
        output_type="np",
        **more,
    ).images
    return np.asarray(pictures)


@pytest.mark.parametrize("negative", ["", "blurry, hat"])
def test_samples_are_those_of_the_plain_pipeline_with_the_lora_loaded(
    xl: BaseModel, tiny_xl: Path, odd_shapes: TrainingSet, tmp_path: Path, negative: str
) -> None:
    config = WITH_TEXT.model_copy(update={"target_modules": "attention+feed_forward"})
    lora = run(xl, odd_shapes, config, tmp_path, rungs=(4,))[0].path
    suite = SuiteConfig(
        prompts=(Prompt("a", "1girl, red shirt", "girl", False), Prompt("b", "1boy", "boy", False)),
        seeds=1,
        negative=negative,
        size=64,
        steps=4,
        guidance_scale=5.0,
        sampler="euler",
    )
    with method.loaded(xl, lora):
        ours = np.stack(draw(xl.pipeline, suite, [0, 1], exact=True))
    more = {"negative_prompt": [negative] * 2} if negative else {}
    theirs = plain_samples(tiny_xl, lora, suite, [0, 1], **more)
    assert np.abs(ours / 255 - theirs).max() < 3 / 255
    without = np.stack(draw(xl.pipeline, suite, [0, 1], exact=True))
    assert np.abs(ours.astype(float) - without).max() > 20


def test_the_vae_is_float32_in_half_precision(tiny_xl: Path) -> None:
    base = load_base(str(tiny_xl), device="cpu")
    base.pipeline.to(torch.float16)
    base.family.prepare(base.pipeline)
    assert base.pipeline.vae.dtype == torch.float32
    assert base.dtype == torch.float16


def test_long_captions_are_read_in_chunks_with_the_pooled_text_of_the_first(
    xl: BaseModel,
) -> None:
    long = ", ".join(["red shirt"] * 60)
    with torch.no_grad():
        both = xl.text_states(xl.tokens([long, "1girl"], 2), 1)
        short = xl.text_states(xl.tokens(["1girl"]), 1)
    assert both.hidden.shape[1] == 2 + 2 * 75
    assert both.pooled is not None
    assert short.pooled is not None
    torch.testing.assert_close(both.pooled[1], short.pooled[0])
    torch.testing.assert_close(both.hidden[1, :76], short.hidden[0, :76])
