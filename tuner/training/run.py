"""One training run: its weights, optimizers, batches, captions and random numbers."""

from __future__ import annotations

import contextlib
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from accelerate import Accelerator

from tuner.data import TrainingSet
from tuner.errors import ConfigError
from tuner.models import BaseModel
from tuner.models.method import trainable
from tuner.space import TrainConfig
from tuner.training.graphs import Graphs
from tuner.training.latents import Bucketed, bucketed
from tuner.training.optimizers import optimizers, schedules
from tuner.training.texts import Texts, texts_of

ADAPTER = "run"
"""Name of the trained adapter on the base."""

_MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Stage:
    """Captions that are used before the optimizer step `until`."""

    until: int
    texts: Texts


class Batches:
    """Source of training batches: whole epochs in random order, captions by stage, noise."""

    def __init__(self, latents: Bucketed, stages: Sequence[Stage], seed: int) -> None:
        """Start the first epoch. All random numbers depend on `seed` alone; `stages` ascend."""
        self.latents = latents
        self._stages = stages
        # Drawn on the CPU, so that a device changes none of the random numbers.
        self.random = torch.Generator().manual_seed(seed)
        # Tags have their own numbers: the noise is the same with and without shuffling.
        self.tag_random = Random(seed)
        self._order: deque[int] = deque()
        self._waiting: dict[int, list[int]] = defaultdict(list)

    def draw(self, size: int) -> torch.Tensor:
        """Return the indices (size,) of the next batch, all pictures of one bucket.

        Pictures come in whole epochs and wait until their bucket fills a batch, so that all are
        used equally often: a bucket with few pictures repeats them in its batch.
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
    def pictures(self) -> int:
        """The number of pictures in an epoch, repeats included."""
        return len(self._stages[0].texts.epoch)

    @property
    def longest(self) -> int:
        """The number of tokens of a caption, with the marks and padding of its chunks."""
        return max(stage.texts.tokens.shape[-1] for stage in self._stages)

    @property
    def needs_encoder(self) -> bool:
        """True if a step may need a text encoder, because the states are not all kept."""
        return any(stage.texts.states is None for stage in self._stages)

    def texts(self, step: int) -> Texts:
        """Return the captions of the optimizer step that follows `step` others."""
        stages = (stage for stage in self._stages if step < stage.until)
        return next(stages, self._stages[-1]).texts

    def rows(self, texts: Texts, pictures: torch.Tensor, empty_prompt: float) -> torch.Tensor:
        """Return the caption rows of `pictures`, a share `empty_prompt` of them the empty prompt.

        An empty prompt has no alias either: it trains the unguided prediction.
        """
        emptied = torch.rand(len(pictures), generator=self.random) < empty_prompt
        return texts.rows[pictures].masked_fill(emptied, 0)

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        """Draw standard normal numbers of `shape`."""
        return torch.randn(tuple(shape), generator=self.random)


class Run:
    """One training run: trained weights, optimizers and batches."""

    def __init__(
        self,
        base: BaseModel,
        accelerator: Accelerator,
        config: TrainConfig,
        batches: Sequence[tuple[Batches, float]],
        steps: int,
    ) -> None:
        """Start a run of `config` over `steps` optimizer steps, with `batches` of `batches_of`."""
        self.config = config
        self.batches = batches
        self.trained = trainable(base, config, ADAPTER)
        self.weights = self.trained.weights
        plain = optimizers(self.trained.groups, config)
        self._schedules = schedules(plain, config, steps)
        self.optimizers: list[Any] = [
            accelerator.prepare_optimizer(optimizer, device_placement=False) for optimizer in plain
        ]
        self._dropout = Random(config.seed)
        self.keeps_gradients = False  # True: they stay where they are in memory between steps

    def move(self, accelerator: Accelerator, graphs: Graphs) -> None:
        """Make one optimizer step with the accumulated gradients."""
        for optimizer in self.optimizers:
            accelerator.unscale_gradients(optimizer)
        graphs.run(lambda _: clip(self.weights), {}, "clipping")
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=not self.keeps_gradients)
        for schedule in self._schedules:
            schedule.step()

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step, of the first group; Prodigy's times its estimate `d`."""
        group = self.optimizers[0].param_groups[0]
        return float(group["lr"]) * float(group.get("d", 1.0))

    @contextlib.contextmanager
    def dropout(self, device: torch.device) -> Iterator[None]:
        """Draw the LoRA's dropout from this run's own random numbers within the context."""
        if self.config.lora_dropout == 0:
            yield
            return
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self._dropout.getrandbits(62))
            yield


def batches_of(
    base: BaseModel, training_set: TrainingSet, config: TrainConfig, steps: int
) -> list[tuple[Batches, float]]:
    """Return the sources of batches of a run of `config`, each with the weight of its loss.

    The first are the training pictures. With `prior_weight` above 0 the regularisation pictures
    follow, whose captions have no alias (Ruiz et al. 2023, section 3.2). Raises ConfigError where
    there are none.
    """
    latents = bucketed(base, training_set, config.size, config.buckets)
    sources = [(Batches(latents, _stages(base, training_set, config, steps), config.seed), 1.0)]
    prior = training_set.regularisation
    if config.prior_weight > 0:
        if prior is None:
            raise ConfigError("prior_weight is above 0, but no regularisation is set")
        plain = config.model_copy(update={"alias": None})
        stages = _stages(base, prior, plain, steps)
        # Its own numbers: the noise is the same with and without prior preservation.
        others = bucketed(base, prior, config.size, config.buckets)
        sources.append((Batches(others, stages, config.seed + 1), config.prior_weight))
    return sources


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
    """Bound the norm of the gradient in place; a gradient that is not finite counts as zero.

    Otherwise a single overflow would make every weight NaN, and a trial that has merely collapsed
    could not be scored. Never waits for the device.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    factor = (_MAX_GRADIENT_NORM / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, factor)
    broken = ~norm.isfinite()
    for gradient in gradients:
        gradient.masked_fill_(broken, 0.0)
