"""The training loop: a generator over rungs.

It knows nothing of Optuna, judges or databases. Whoever stops reading stops the training, and
the adapters come off the base whatever way the generator is left.

The members of a pack take turns at every step over the one frozen base; each has its own
adapter, optimizer and random numbers, so that a member's weights do not depend on its company.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from diffusers.models.attention_processor import AttnProcessor

from tuner import adapter, losses
from tuner.base_model import BaseModel
from tuner.config import TrainConfig
from tuner.data.cache import Latents, latents_of
from tuner.data.folder import TrainingSet
from tuner.data.texts import Texts, step_tokens, texts_of
from tuner.events import Progress
from tuner.lora_metadata import training_metadata
from tuner.study_folder import TrialFolder

_MAX_GRADIENT_NORM = 1.0
_REPORT_SECONDS = 1.0
_PLAIN_ATTENTION_PLACES = 32 * 32


class DivergedError(Exception):
    """The loss, the weights or the pictures of a trial are no longer finite numbers."""


@dataclass(frozen=True)
class Checkpoint:
    """A rung is reached: one LoRA file per member, and its mean loss since the last rung."""

    step: int
    paths: tuple[Path, ...]
    losses: tuple[float, ...]


def train(
    base: BaseModel,
    training_set: TrainingSet,
    pack: Sequence[TrainConfig],
    rungs: Sequence[int],
    folders: Sequence[Path],
) -> Generator[Progress | Checkpoint, None, None]:
    """Train one LoRA per member of `pack` and yield a Checkpoint at each of `rungs`.

    `rungs` are optimizer steps, ascending; `folders` are the trial folders of the members, whose
    `rung_*/lora.safetensors` is written before its Checkpoint is yielded. Progress comes about
    once a second. The same seed gives the same weights on a CPU. Raises DivergedError when a
    loss or a weight is not finite, ValueError for members of different resolutions.
    """
    if len({config.size for config in pack}) != 1 or len(pack) != len(folders):
        raise ValueError("a pack has members of one resolution and a folder for each")
    latents = latents_of(base, training_set, pack[0].size)
    with adapter.loaded(base, None):
        texts = [texts_of(base, training_set, config) for config in pack]
    accelerator = Accelerator(cpu=base.device.type == "cpu", mixed_precision=_mixed_precision(base))
    names = [f"member{index}" for index in range(len(pack))]
    try:
        members = [
            _Member(base, accelerator, config, name, text)
            for config, name, text in zip(pack, names, texts, strict=True)
        ]
        trainer = _Trainer(base, accelerator, latents, members)
        yield from _climb(trainer, rungs, [TrialFolder(folder) for folder in folders])
    finally:
        for name in names:
            adapter.detach(base, name)
        accelerator.free_memory()


def _climb(
    trainer: _Trainer, rungs: Sequence[int], folders: Sequence[TrialFolder]
) -> Iterator[Progress | Checkpoint]:
    step = 0
    for rung in rungs:
        # The clock starts anew: at a checkpoint the reader samples and scores for a while.
        since, reported = time.monotonic(), step
        with _quick_attention(trainer.base, trainer.latents.mean.shape[-2:].numel()):
            while step < rung:
                trainer.step()
                step += 1
                seconds = time.monotonic() - since
                if seconds >= _REPORT_SECONDS or step == rung:
                    done = step - reported
                    yield Progress(step, rungs[-1], done / seconds, trainer.read_loss(step))
                    since, reported = time.monotonic(), step
        yield trainer.checkpoint(step, [folder.rung(rung).lora for folder in folders])


class _Member:
    """One LoRA in training: its adapter, optimizer, captions, random numbers and loss."""

    def __init__(
        self,
        base: BaseModel,
        accelerator: Accelerator,
        config: TrainConfig,
        name: str,
        texts: Texts,
    ) -> None:
        self.config = config
        self.name = name
        self.texts = texts
        groups = adapter.attach(base, config, name)
        self.parameters: list[torch.nn.Parameter] = [p for g in groups for p in g["params"]]
        self.optimizer: Any = accelerator.prepare_optimizer(
            torch.optim.AdamW(groups, foreach=True), device_placement=False
        )
        # Drawn on the CPU, so that a device changes none of the random numbers.
        self.random = torch.Generator().manual_seed(config.seed)
        # Tags have their own numbers: with or without shuffling a run sees the same noise.
        self.tag_random = Random(config.seed)
        self.order = torch.empty(0, dtype=torch.long)
        self.loss = torch.zeros((), device=base.device)
        self.rung_loss = 0.0

    def pictures(self) -> torch.Tensor:
        """The indices of the next batch: a whole epoch before any picture of the next one."""
        while len(self.order) < self.config.batch_size:
            order = torch.randperm(len(self.texts.epoch), generator=self.random)
            self.order = torch.cat([self.order, self.texts.epoch[order]])
        batch = self.order[: self.config.batch_size]
        self.order = self.order[self.config.batch_size :]
        return batch

    def caption_rows(self, pictures: torch.Tensor) -> torch.Tensor:
        """The captions of `pictures`, some emptied: without alias, as plain unguided noise."""
        emptied = torch.rand(len(pictures), generator=self.random) < self.config.empty_prompt
        return self.texts.rows[pictures].masked_fill(emptied, 0)

    def normal(self, shape: torch.Size) -> torch.Tensor:
        return torch.randn(shape, generator=self.random)


@dataclass
class _Trainer:
    base: BaseModel
    accelerator: Accelerator
    latents: Latents
    members: list[_Member]
    schedule: DDPMScheduler = field(init=False)
    steps_read: int = 0
    rung_start: int = 0

    def __post_init__(self) -> None:
        self.schedule = DDPMScheduler.from_config(self.base.pipeline.scheduler.config)

    def step(self) -> None:
        """One optimizer step of every member. Nothing here waits for the device."""
        for member in self.members:
            if len(self.members) > 1:
                adapter.activate(self.base, [member.name])
            loss = self._loss(member)
            self.accelerator.backward(loss)
            self.accelerator.unscale_gradients(member.optimizer)
            _clip(member.parameters)
            member.optimizer.step()
            member.optimizer.zero_grad()
            member.loss += loss.detach()

    def _loss(self, member: _Member) -> torch.Tensor:
        device = self.base.device
        pictures = member.pictures()
        rows = member.caption_rows(pictures)
        chosen = pictures.to(device)
        mean, std = self.latents.mean[chosen], self.latents.std[chosen]
        latents = mean + std * member.normal(mean.shape).to(device)
        noise = member.normal(mean.shape).to(device)
        timesteps = torch.randint(
            self.schedule.config.num_train_timesteps, (len(rows),), generator=member.random
        ).to(device)
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        with self.accelerator.autocast():
            hidden = self._hidden(member, rows)
            prediction = self.base.pipeline.unet(
                noisy.to(self.base.dtype), timesteps, hidden, return_dict=False
            )[0]
        return losses.mean_squared_error(
            prediction, losses.target(self.schedule, latents, noise, timesteps)
        )

    def _hidden(self, member: _Member, rows: torch.Tensor) -> torch.Tensor:
        texts, config = member.texts, member.config
        if texts.hidden is not None:
            return texts.hidden[rows.to(self.base.device)]
        tokens = step_tokens(self.base, texts, rows, config, member.tag_random)
        encoder = self.base.pipeline.text_encoder
        if config.text_encoder_ratio > 0:
            states: torch.Tensor = encoder(tokens)[0]
            return states.to(self.base.dtype)
        with torch.no_grad(), torch.autocast(self.base.device.type, enabled=False):
            return encoder(tokens)[0]  # type: ignore[no-any-return]  # as if kept in `hidden`

    def read_loss(self, step: int) -> float:
        """The mean loss of the pack since the last reading. Waits for the device."""
        steps, self.steps_read = step - self.steps_read, step
        sums: list[float] = torch.stack([member.loss for member in self.members]).tolist()
        for member, total in zip(self.members, sums, strict=True):
            if not torch.isfinite(torch.tensor(total)):
                raise DivergedError(f"loss is {total} by step {step} of {member.name}")
            member.rung_loss += total
            member.loss.zero_()
        return sum(sums) / len(sums) / steps

    def checkpoint(self, step: int, paths: Sequence[Path]) -> Checkpoint:
        steps, self.rung_start = step - self.rung_start, step
        mean_losses = []
        for member, path in zip(self.members, paths, strict=True):
            # float16 is what the file holds: a weight beyond its range is lost there.
            finite = [part.detach().half().isfinite().all() for part in member.parameters]
            if not torch.stack(finite).all():
                raise DivergedError(f"weights of {member.name} are not finite at step {step}")
            metadata = training_metadata(self.base, member.config, step)
            adapter.save(self.base, member.name, path, metadata)
            mean_losses.append(member.rung_loss / steps)
            member.rung_loss = 0.0
        return Checkpoint(step, tuple(paths), tuple(mean_losses))


def _clip(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Bound the norm of the gradient in place; one that is not finite counts as zero.

    Otherwise a single overflow makes every weight NaN, and a trial that has merely collapsed
    could not be scored as such. Nothing here waits for the device.
    """
    gradients = [each.grad for each in parameters if each.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    factor = (_MAX_GRADIENT_NORM / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.copy_(torch.where(norm.isfinite(), gradient * factor, 0.0))


def _mixed_precision(base: BaseModel) -> str:
    """Half precision where the base has it; LoRA weights and their optimizer stay float32.

    A float32 base on a CPU that multiplies bfloat16 by itself steps half as fast again with it;
    on any other CPU bfloat16 is slower. torch before 2.10 does not tell.
    """
    if base.device.type == "cpu":
        told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        if told.get("avx512_bf16") or told.get("amx_bf16"):
            return "bf16"
    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(base.dtype, "no")


@contextlib.contextmanager
def _quick_attention(base: BaseModel, places: int) -> Iterator[None]:
    """On a CPU the plain attention: the fused one's backward pass takes a quarter of a step.

    Its memory grows with the square of the latent's `places`, so only for small pictures.
    """
    unet = base.pipeline.unet
    before = unet.attn_processors
    if base.device.type == "cpu" and places <= _PLAIN_ATTENTION_PLACES:
        unet.set_attn_processor(AttnProcessor())
    try:
        yield
    finally:
        unet.set_attn_processor(before)
