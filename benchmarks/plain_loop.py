"""Train, sample and judge one LoRA with a plain loop of diffusers and peft, as many do today.

    python benchmarks/plain_loop.py TASK.json

One process does one run and ends. The structure is that of the public example for LoRA training:
pictures are read and encoded in every step, by the VAE and by the text encoder, in float32; the
loss is read in every step. Then a new pipeline loads the LoRA and draws the prompts one at a time,
and the judges score one picture at a time. It uses all cores and nothing of tuner's engine; the
judges are tuner's. `benchmarks/trial.py` writes the task and reads `result.json` from its folder.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image, ImageOps

RESULT = "result.json"
_TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]
_MOST_NORM = 1.0
"""Largest norm of the gradient, as in the example and in tuner."""


@dataclass(frozen=True)
class Task:
    """A run: a diffusers folder, pictures with captions, and the settings of all parts.

    `prompts` are the fields of `metrics.contract.Prompt`. Everything is written into `folder`.
    """

    base: str
    pictures: Sequence[tuple[str, str]]
    prompts: Sequence[Mapping[str, Any]]
    seeds: int
    size: int
    solver_steps: int
    guidance_scale: float
    train_steps: int
    batch_size: int
    rank: int
    learning_rate: float
    seed: int
    folder: str


@dataclass(frozen=True)
class Draws:
    """Random numbers of a step: the noise of the VAE and of the latents, and the timesteps."""

    encoding: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor


@dataclass(frozen=True)
class Parts:
    """The models of a training, with a LoRA on the UNet."""

    pipeline: Any
    schedule: Any
    weights: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer


class Pictures(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Pictures (3, size, size) in [-1, 1] and the tokens of their captions, read when needed."""

    def __init__(self, task: Task, tokenizer: Any) -> None:
        self.pictures, self.size, self.tokenizer = task.pictures, task.size, tokenizer

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        path, caption = self.pictures[number]
        with Image.open(path) as opened:
            picture = ImageOps.fit(
                opened.convert("RGB"), (self.size, self.size), Image.Resampling.LANCZOS
            )
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1
        tokens = self.tokenizer(
            caption,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids[0]
        return {"pixels": pixels, "tokens": tokens}


def main(path: Path) -> None:
    task = Task(**json.loads(path.read_text(encoding="utf-8")))
    torch.manual_seed(task.seed)
    parts = load(task)
    began = time.monotonic()
    losses = train(parts, task)
    trained = time.monotonic()
    pipeline = load_again(task)
    loaded = time.monotonic()
    paths = sample(pipeline, task)
    sampled = time.monotonic()
    scores = judge(paths, task)
    judged = time.monotonic()
    seconds = {"train": trained - began, "sample": sampled - loaded, "judge": judged - sampled}
    result = {"seconds": seconds, "pictures": len(paths), "scores": scores, "loss": losses[-1]}
    Path(task.folder, RESULT).write_text(json.dumps(result), encoding="utf-8")


def load(task: Task) -> Parts:
    """Load the base, freeze it, and add a LoRA to the UNet's attention."""
    pipeline = StableDiffusionPipeline.from_pretrained(task.base, safety_checker=None)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False)
    unet = pipeline.unet
    unet.add_adapter(
        LoraConfig(
            r=task.rank,
            lora_alpha=task.rank,
            init_lora_weights="gaussian",
            target_modules=_TARGETS,
        )
    )
    weights = [weight for weight in unet.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=task.learning_rate, weight_decay=0.01)
    schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    return Parts(pipeline, schedule, weights, optimizer)


def train(parts: Parts, task: Task) -> list[float]:
    """Make the optimizer's steps, save the LoRA, and return the loss of each step."""
    losses = []
    for batch, _ in zip(batches(parts, task), range(task.train_steps), strict=False):
        loss = loss_of(parts, batch["pixels"], batch["tokens"], draws_for(parts, batch["pixels"]))
        move(parts, loss)
        losses.append(loss.item())
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(parts.pipeline.unet))
    StableDiffusionPipeline.save_lora_weights(task.folder, unet_lora_layers=layers)
    return losses


def batches(parts: Parts, task: Task) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches of all pictures in random order, epoch after epoch."""
    pictures = Pictures(task, parts.pipeline.tokenizer)
    loader = torch.utils.data.DataLoader(
        pictures, batch_size=task.batch_size, shuffle=True, drop_last=True
    )
    while True:
        yield from loader


def draws_for(parts: Parts, pixels: torch.Tensor) -> Draws:
    """Draw the random numbers of a step with `pixels` (pictures, 3, height, width)."""
    factor = parts.pipeline.vae_scale_factor
    channels = parts.pipeline.unet.config.in_channels
    shape = (len(pixels), channels, pixels.shape[2] // factor, pixels.shape[3] // factor)
    steps = parts.schedule.config.num_train_timesteps
    timesteps = torch.randint(0, steps, (len(pixels),))
    return Draws(torch.randn(shape), torch.randn(shape), timesteps)


def loss_of(parts: Parts, pixels: torch.Tensor, tokens: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Return the loss of a batch: the mean squared error of the predicted noise."""
    pipeline = parts.pipeline
    posterior = pipeline.vae.encode(pixels).latent_dist
    latents = (posterior.mean + posterior.std * draws.encoding) * pipeline.vae.config.scaling_factor
    noisy = parts.schedule.add_noise(latents, draws.noise, draws.timesteps)
    hidden = pipeline.text_encoder(tokens)[0]
    predicted = pipeline.unet(noisy, draws.timesteps, hidden, return_dict=False)[0]
    return torch.nn.functional.mse_loss(predicted.float(), draws.noise.float())


def move(parts: Parts, loss: torch.Tensor) -> None:
    """Make one step of the optimizer."""
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parts.weights, _MOST_NORM)
    parts.optimizer.step()
    parts.optimizer.zero_grad()


def load_again(task: Task) -> StableDiffusionPipeline:
    """Return a new pipeline with the trained LoRA and the suite's sampler."""
    pipeline = StableDiffusionPipeline.from_pretrained(task.base, safety_checker=None)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.load_lora_weights(task.folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sample(pipeline: StableDiffusionPipeline, task: Task) -> list[Path]:
    """Draw every prompt with every seed, one picture at a time, and save the pictures."""
    paths = []
    for prompt in task.prompts:
        for seed in range(task.seeds):
            picture = pipeline(
                prompt["text"],
                width=task.size,
                height=task.size,
                num_inference_steps=task.solver_steps,
                guidance_scale=task.guidance_scale,
                generator=torch.Generator().manual_seed(seed),
            ).images[0]
            paths.append(Path(task.folder, f"{len(paths):04d}.png"))
            picture.save(paths[-1])
    return paths


def judge(paths: Sequence[Path], task: Task) -> int:
    """Score the pictures, one at a time; return the number of scores."""
    from metrics import open_detectors, score
    from metrics.contract import Prompt, Sample
    from tuner.judging.models import mannequin_judges

    scores = 0
    with open_detectors(mannequin_judges()) as judges:
        for number, path in enumerate(paths):
            prompt = Prompt(**task.prompts[number // task.seeds])
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"), np.uint8)
            (scored,) = score([Sample(prompt, number % task.seeds, pixels, path)], judges)
            scores += len(scored.scores)
    return scores


if __name__ == "__main__":
    main(Path(sys.argv[1]))
