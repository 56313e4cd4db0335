"""The training loop: a generator over rungs.

It knows nothing of Optuna, judges or databases. Whoever stops reading stops the training, and
the adapters come off the base whatever way the generator is left.

The members of a pack take turns at every step over the one frozen base; each has its own
adapter, optimizer and random numbers, so that a member's weights do not depend on its company.
DreamBooth trains copies of the base's parts, alone.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler

from tuner.data import TrainingSet
from tuner.errors import DivergedError
from tuner.events import Progress
from tuner.models import BaseModel, adapter
from tuner.models.metadata import training_metadata
from tuner.models.text_encoder import states
from tuner.space import TrainConfig
from tuner.storage.folder import TrialFolder
from tuner.training import losses
from tuner.training.memory import computed, is_short, mixed_precision, parked
from tuner.training.run import Member, Pictures, pictures_of
from tuner.training.texts import Texts, step_tokens

_REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class Checkpoint:
    """A rung is reached: one file per member, and its mean loss since the last rung.

    A file is a LoRA, or DreamBooth's whole weights, of which a run keeps the last rung's only.
    """

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
    """Train each member of `pack` and yield a Checkpoint at each of `rungs`.

    `rungs` are optimizer steps, ascending; `folders` are the trial folders of the members, in
    whose `rung_*` a file is written before its Checkpoint is yielded. Progress comes about once a
    second. The same seed gives the same weights on a CPU. Raises DivergedError when a loss or a
    weight is not finite, ValueError for members of different resolutions, or of DreamBooth in
    company, ConfigError for an optimizer that cannot run here.
    """
    if len({config.size for config in pack}) != 1 or len(pack) != len(folders):
        raise ValueError("a pack has members of one resolution and a folder for each")
    if len(pack) > 1 and any(config.method != "lora" for config in pack):
        raise ValueError("only LoRAs train side by side")
    with adapter.loaded(base, None):
        pictures = [pictures_of(base, training_set, config, rungs[-1]) for config in pack]
    accelerator = Accelerator(cpu=base.device.type == "cpu", mixed_precision=mixed_precision(base))
    names = [f"member{index}" for index in range(len(pack))]
    try:
        members = [
            Member(base, accelerator, config, name, drawn, rungs[-1])
            for config, name, drawn in zip(pack, names, pictures, strict=True)
        ]
        trainer = _Trainer(base, accelerator, members)
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
        with (
            parked(trainer.base, trainer.idle),
            computed(trainer.unet, trainer.places, trainer.checkpointing),
        ):
            while step < rung:
                trainer.step(step)
                step += 1
                seconds = time.monotonic() - since
                if seconds >= _REPORT_SECONDS or step == rung:
                    done = step - reported
                    yield Progress(step, rungs[-1], done / seconds, trainer.read_loss(step))
                    since, reported = time.monotonic(), step
        yield trainer.checkpoint(step, folders)


@dataclass
class _Trainer:
    base: BaseModel
    accelerator: Accelerator
    members: list[Member]
    schedule: DDPMScheduler = field(init=False)
    checkpointing: bool = field(init=False)
    steps_read: int = 0
    rung_start: int = 0

    def __post_init__(self) -> None:
        self.schedule = DDPMScheduler.from_config(self.base.pipeline.scheduler.config)
        self.checkpointing = any(self._checkpoints(member) for member in self.members)
        # Of a pack all members have the base's own.
        self.unet = self.members[0].trained.unet
        parts = [
            part for one in self.members for of, _ in one.pictures for part in of.latents.parts
        ]
        self.places = max(part.mean.shape[-2:].numel() for part in parts)
        # The latents are there; where all captions' states are too, nobody reads a caption.
        asking = [one for one in self.members if any(of.reads for of, _ in one.pictures)]
        pipeline = self.base.pipeline
        asked = any(one.trained.text_encoder is pipeline.text_encoder for one in asking)
        self.idle = [pipeline.vae, *([] if asked else [pipeline.text_encoder])]

    def _checkpoints(self, member: Member) -> bool:
        asked = member.config.gradient_checkpointing
        if asked is not None:
            return asked
        return is_short(self.base, member.config, sum(one.numel() for one in member.weights))

    def step(self, done: int) -> None:
        """One optimizer step of every member after `done` others. Never waits for the device."""
        for member in self.members:
            if len(self.members) > 1:
                adapter.activate(self.base, [member.name])
            batches = member.config.gradient_accumulation
            for _ in range(batches):
                for place, (pictures, weight) in enumerate(member.pictures):
                    loss = self._loss(member, pictures, done) / batches
                    self.accelerator.backward(loss * weight)
                    if place == 0:  # not the prior's, so that losses compare across trials
                        member.loss += loss.detach()
            member.move(self.accelerator)

    def _loss(self, member: Member, pictures: Pictures, done: int) -> torch.Tensor:
        device, config = self.base.device, member.config
        texts = pictures.texts(done)
        batch = pictures.batch(config.batch_size)
        rows = pictures.rows(texts, batch, config.empty_prompt)
        chosen = pictures.latents.of(batch)
        mean = chosen.mean
        latents = mean + chosen.std * pictures.normal(mean.shape).to(device)
        noise = pictures.normal(mean.shape)
        timesteps = torch.randint(
            self.schedule.config.num_train_timesteps, (len(rows),), generator=pictures.random
        ).to(device)
        if config.noise_offset > 0:
            # One number for a whole channel lets brightness change (Guttenberg 2023).
            noise = noise + config.noise_offset * pictures.normal((*mean.shape[:2], 1, 1))
        noise = noise.to(device)
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        with self.accelerator.autocast(), member.dropout(device):
            hidden = self._hidden(member, pictures, texts, rows)
            prediction = member.trained.unet(
                noisy.to(self.base.dtype), timesteps, hidden, return_dict=False
            )[0]
        goal = losses.target(self.schedule, latents, noise, timesteps)
        if config.min_snr_gamma is None:
            return losses.mean_squared_error(prediction, goal)
        weights = losses.min_snr_weights(self.schedule, timesteps, config.min_snr_gamma)
        return losses.mean_squared_error(prediction, goal, weights)

    def _hidden(
        self, member: Member, pictures: Pictures, texts: Texts, rows: torch.Tensor
    ) -> torch.Tensor:
        config, encoder = member.config, member.trained.text_encoder
        if texts.hidden is not None:
            return texts.hidden[rows.to(self.base.device)]
        tokens = step_tokens(self.base, texts, rows, config, pictures.tag_random)
        if config.text_encoder_ratio > 0:
            return states(encoder, tokens, config.clip_skip).to(self.base.dtype)
        with torch.no_grad(), torch.autocast(self.base.device.type, enabled=False):
            return states(encoder, tokens, config.clip_skip)  # as if kept in `hidden`

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

    def checkpoint(self, step: int, folders: Sequence[TrialFolder]) -> Checkpoint:
        steps, self.rung_start = step - self.rung_start, step
        mean_losses, paths = [], []
        for member, folder in zip(self.members, folders, strict=True):
            # float16 is what the file holds: a weight beyond its range is lost there.
            finite = [part.detach().half().isfinite().all() for part in member.weights]
            if not torch.stack(finite).all():
                raise DivergedError(f"weights of {member.name} are not finite at step {step}")
            path = folder.rung(step).trained(member.config.method)
            member.trained.save(path, training_metadata(self.base, member.config, step))
            if member.config.method != "lora" and member.last_file is not None:
                member.last_file.unlink(missing_ok=True)  # 2 GB each, for Stable Diffusion
            member.last_file = path
            paths.append(path)
            mean_losses.append(member.rung_loss / steps)
            member.rung_loss = 0.0
        return Checkpoint(step, tuple(paths), tuple(mean_losses))
