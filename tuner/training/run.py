"""One run in training: what it trains, its optimizers, its pictures, captions and random numbers.

Nothing of it depends on other runs that train beside it.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from accelerate import Accelerator

from tuner.data import TrainingSet
from tuner.errors import ConfigError
from tuner.models import BaseModel
from tuner.models.method import trainable
from tuner.space import TrainConfig
from tuner.training.latents import Bucketed, bucketed
from tuner.training.optimizers import optimizers, schedules
from tuner.training.texts import Texts, texts_of

_MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Stage:
    """The captions that training sees up to a step."""

    until: int
    texts: Texts


class Pictures:
    """Pictures in training: whole epochs in random order, captions by stage, noise."""

    def __init__(self, latents: Bucketed, stages: Sequence[Stage], seed: int) -> None:
        """`stages` follow each other; `seed` is all that the random numbers depend on."""
        self.latents = latents
        self._stages = stages
        # Drawn on the CPU, so that a device changes none of the random numbers.
        self.random = torch.Generator().manual_seed(seed)
        # Tags have their own numbers: with or without shuffling a run sees the same noise.
        self.tag_random = Random(seed)
        self._order: deque[int] = deque()
        self._waiting: dict[int, list[int]] = defaultdict(list)

    def batch(self, size: int) -> torch.Tensor:
        """The indices of the next batch, which are of one bucket.

        Pictures come in whole epochs and wait until their bucket has a batch, so that all are seen
        equally often: a batch of a bucket with few has them several times.
        """
        epoch = self._stages[0].texts.epoch
        while True:
            if not self._order:
                order = torch.randperm(len(epoch), generator=self.random)
                self._order.extend(epoch[order].tolist())
            picture = self._order.popleft()
            waiting = self._waiting[self.latents.bucket[picture]]
            waiting.append(picture)
            if len(waiting) == size:
                batch = torch.tensor(waiting)
                waiting.clear()
                return batch

    @property
    def reads(self) -> bool:
        """Whether a step may ask a text encoder, because a caption's states are not kept."""
        return any(stage.texts.hidden is None for stage in self._stages)

    def texts(self, step: int) -> Texts:
        """The captions of the optimizer step that follows `step` others."""
        return next((one.texts for one in self._stages if step < one.until), self._stages[-1].texts)

    def rows(self, texts: Texts, pictures: torch.Tensor, empty_prompt: float) -> torch.Tensor:
        """The captions of `pictures`, some emptied: without alias, as plain unguided noise."""
        emptied = torch.rand(len(pictures), generator=self.random) < empty_prompt
        return texts.rows[pictures].masked_fill(emptied, 0)

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """Standard normal numbers."""
        return torch.randn(tuple(shape), generator=self.random)


class Member:
    """One run in training: what is trained, how it is moved, and its loss so far."""

    def __init__(
        self,
        base: BaseModel,
        accelerator: Accelerator,
        config: TrainConfig,
        name: str,
        pictures: Sequence[tuple[Pictures, float]],
        steps: int,
    ) -> None:
        """A fresh run of `config` over `steps`; `name` is that of its adapter on the base."""
        self.config = config
        self.name = name
        self.pictures = pictures
        self.trained = trainable(base, config, name)
        self.weights = self.trained.weights
        plain = optimizers(self.trained.groups, config)
        self._schedules = schedules(plain, config, steps)
        self.optimizers: list[Any] = [
            accelerator.prepare_optimizer(one, device_placement=False) for one in plain
        ]
        self.loss = torch.zeros((), device=base.device)
        self.rung_loss = 0.0
        self.last_file: Path | None = None
        self._dropout = Random(config.seed)

    def move(self, accelerator: Accelerator) -> None:
        """One optimizer step along the gradients that were gathered."""
        for optimizer in self.optimizers:
            accelerator.unscale_gradients(optimizer)
        clip(self.weights)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        for schedule in self._schedules:
            schedule.step()

    @contextlib.contextmanager
    def dropout(self, device: torch.device) -> Iterator[None]:
        """What the LoRA's dropout leaves out is drawn from this run's own numbers."""
        if self.config.lora_dropout == 0:
            yield
            return
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self._dropout.getrandbits(62))
            yield


def pictures_of(
    base: BaseModel, training_set: TrainingSet, config: TrainConfig, steps: int
) -> list[tuple[Pictures, float]]:
    """What a run of `config` draws its batches from, each with the weight of its loss.

    These are the training pictures and, with `prior_weight` above 0, the regularisation pictures
    beside them, whose captions have no alias (Ruiz et al. 2023, section 3.2).
    """
    latents = bucketed(base, training_set, config.size, config.buckets)
    found = [(Pictures(latents, _stages(base, training_set, config, steps), config.seed), 1.0)]
    prior = training_set.regularisation
    if config.prior_weight > 0:
        if prior is None:
            raise ConfigError("prior_weight is above 0 and the study has no regularisation: set it")
        plain = config.model_copy(update={"alias": None})
        stages = _stages(base, prior, plain, steps)
        # Its own numbers: with or without prior preservation a run sees the same noise.
        others = bucketed(base, prior, config.size, config.buckets)
        found.append((Pictures(others, stages, config.seed + 1), config.prior_weight))
    return found


def _stages(
    base: BaseModel, training_set: TrainingSet, config: TrainConfig, steps: int
) -> list[Stage]:
    last = Stage(steps, texts_of(base, training_set, config))
    first = round(config.first_share * steps)
    if config.first_captions is None or first == 0:
        return [last]
    other = config.model_copy(update={"captions": config.first_captions})
    return [Stage(first, texts_of(base, training_set, other)), last]


def clip(weights: Sequence[torch.nn.Parameter]) -> None:
    """Bound the norm of the gradient in place; one that is not finite counts as zero.

    Otherwise a single overflow makes every weight NaN, and a trial that has merely collapsed
    could not be scored as such. Nothing here waits for the device.
    """
    gradients = [each.grad for each in weights if each.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    factor = (_MAX_GRADIENT_NORM / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.copy_(torch.where(norm.isfinite(), gradient * factor, 0.0))
