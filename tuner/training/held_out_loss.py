"""Measure the denoising loss of a LoRA on fixed noise, to detect over-fitting.

Training loss is mostly noise: each step draws other timesteps. Here timesteps, noise, latents and
captions are fixed, so that two LoRAs, or a LoRA and its base, differ only by what they learned. A
LoRA that lowers the loss of its training images but not that of held-out ones is over-fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDPMScheduler

from metrics.contract import Measure
from metrics.intervals import central, ratio_draws
from tuner.data import TrainingSet
from tuner.data.captions import training_caption
from tuner.data.folder import TrainingImage
from tuner.models import BaseModel, method
from tuner.models.families.family import TextStates
from tuner.space import TrainConfig
from tuner.training import losses
from tuner.training.latents import Latents, latents_of

Floats = npt.NDArray[np.float64]

MAX_PICTURES = 16
"""Most pictures on each side.

The measurement then takes a fiftieth of the time of 300 training steps of 16 pictures.
"""
TIMESTEPS = 4
"""Timesteps for each picture, one from each quarter of the schedule."""

_PIXELS_PER_BATCH = 4 * 512 * 512
_LARGEST_BATCH = 16
_GOLDEN = (5**0.5 - 1) / 2
_HELD_OUT, _TRAIN = "held_out_loss", "train_loss"

_kept: WeakKeyDictionary[BaseModel, dict[object, dict[str, Floats]]] = WeakKeyDictionary()


def loss_measures(
    base: BaseModel,
    training_set: TrainingSet,
    config: TrainConfig,
    size: tuple[int, int],
    lora: Path | None,
) -> list[Measure]:
    """Return the loss with the LoRA over that of the base, on held-out and on training images.

    `held_out_loss` and `train_loss` are 1 for the base itself (`lora` None) and below 1 if the LoRA
    denoises better; `loss_gap` is the first minus the second: above 0 the LoRA knows its own
    pictures better than others. There are as many training images as held-out ones. Captions are
    those of the run, with the alias and never emptied, for the base too; pictures have the suite's
    `size`, which is the same for all runs. The intervals are over pictures. Without held-out images
    only `train_loss` has a number.
    """
    sides = _sides(training_set)
    key = (size, config.captions, config.alias, config.clip_skip, *sides.values())
    of_base = _kept.setdefault(base, {})
    if key not in of_base:
        of_base[key] = _losses(base, training_set, sides, config, size, None)
    before = of_base[key]
    after = before
    if lora is not None:
        after = _losses(base, training_set, sides, config, size, lora)
    return _measures(before, after)


def _sides(training_set: TrainingSet) -> Mapping[str, tuple[TrainingImage, ...]]:
    """Return the pictures of each side: those with the lowest hashes, the same in every run."""
    held_out = sorted(training_set.held_out, key=lambda image: image.sha256)[:MAX_PICTURES]
    count = len(held_out) or MAX_PICTURES
    trained_on = sorted(training_set.images, key=lambda image: image.sha256)[:count]
    return {_HELD_OUT: tuple(held_out), _TRAIN: tuple(trained_on)}


def _measures(before: Mapping[str, Floats], after: Mapping[str, Floats]) -> list[Measure]:
    rng = np.random.default_rng(0)
    ratios: dict[str, tuple[float, Floats]] = {}
    measures = []
    for name in (_HELD_OUT, _TRAIN):
        n = len(before[name])
        if not n or not np.isfinite(after[name]).all():
            note = "the loss is not finite" if n else "no image was held out"
            measures.append(Measure(name, None, None, None, 0, n, note))
            continue
        value = float(after[name].sum() / before[name].sum())
        draws = ratio_draws(after[name], before[name], rng)
        ratios[name] = value, draws
        measures.append(Measure(name, value, *central(draws, value), n, n))
    if len(ratios) < 2:
        return [*measures, Measure("loss_gap", None, None, None, 0, 0, measures[0].note)]
    (value, draws), (own, own_draws) = ratios[_HELD_OUT], ratios[_TRAIN]
    gap, n = value - own, len(before[_HELD_OUT])
    return [*measures, Measure("loss_gap", gap, *central(draws - own_draws, gap), n, n)]


def _losses(
    base: BaseModel,
    training_set: TrainingSet,
    sides: Mapping[str, tuple[TrainingImage, ...]],
    config: TrainConfig,
    size: tuple[int, int],
    lora: Path | None,
) -> dict[str, Floats]:
    """Return the mean loss of each picture of each side."""
    by_side = {}
    with torch.no_grad(), method.loaded(base, lora):
        for name, images in sides.items():
            if not images:
                by_side[name] = np.zeros(0)
                continue
            latents = latents_of(base, replace(training_set, images=images), size)
            captions = [
                training_caption(image.caption, config.captions, config.alias) for image in images
            ]
            states = base.text_states(base.tokens(captions), config.clip_skip).to(base.dtype)
            batch = max(1, min(_LARGEST_BATCH, _PIXELS_PER_BATCH // (size[0] * size[1])))
            seeds = [int(image.sha256[:12], 16) for image in images]
            by_side[name] = _picture_losses(base, latents, states, seeds, batch)
    return by_side


def _picture_losses(
    base: BaseModel, latents: Latents, states: TextStates, seeds: Sequence[int], batch: int
) -> Floats:
    """Return each picture's mean loss."""
    schedule = DDPMScheduler.from_config(base.pipeline.scheduler.config)
    rows = torch.arange(len(seeds)).repeat_interleave(TIMESTEPS)
    steps = timesteps(len(seeds), int(schedule.config.num_train_timesteps)).flatten()
    noise = torch.cat([_noise(latents.mean.shape[1:], seed) for seed in seeds])
    parts = []
    for at in range(0, len(rows), batch):
        part = rows[at : at + batch].to(base.device)
        step, drawn = (each[at : at + batch].to(base.device) for each in (steps, noise))
        clean = latents.mean[part]
        noisy = schedule.add_noise(clean, drawn, step)
        guess = base.family.predict(
            base.pipeline.unet,
            noisy.to(base.dtype),
            step,
            states.rows(part),
            latents.frames[part],
        )
        goal = losses.target(schedule, clean, drawn, step)
        parts.append((guess.float() - goal.float()).square().mean(dim=(1, 2, 3)))
    each = torch.cat(parts).view(len(seeds), TIMESTEPS).mean(dim=1)
    return each.cpu().numpy().astype(np.float64)


def timesteps(pictures: int, total: int) -> torch.Tensor:
    """Return the timesteps (pictures, TIMESTEPS) below `total`: one in each part of the schedule.

    Within the parts they move from picture to picture by the golden ratio, so that few pictures
    cover the schedule evenly, and equally on both sides.
    """
    along = (torch.arange(pictures, dtype=torch.float64) * _GOLDEN) % 1.0
    parts = torch.arange(TIMESTEPS, dtype=torch.float64) + along[:, None]
    return (parts / TIMESTEPS * total).long()


def _noise(shape: Any, seed: int) -> torch.Tensor:
    # Drawn on the CPU, so that it is the same for all devices.
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((TIMESTEPS, *shape), generator=generator)
