"""The training loop: a generator that yields progress and one checkpoint for each rung.

It knows nothing of Optuna, judges or databases. Closing the generator stops the training, and
the adapter is always taken off the base at the end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler

from tuner.data import TrainingSet
from tuner.errors import DivergedError
from tuner.events import Progress
from tuner.models import BaseModel, adapter
from tuner.models.base import product_dtype
from tuner.models.compiled import compiled
from tuner.models.families.family import TextStates
from tuner.models.metadata import run_metadata, training_metadata
from tuner.space import TrainConfig
from tuner.storage.folder import TrialFolder
from tuner.training import losses
from tuner.training.graphs import Graphs, Inputs
from tuner.training.memory import computed, is_short, mixed_precision, parked, sent
from tuner.training.run import ADAPTER, Batches, Run, batches_of
from tuner.training.texts import Texts, step_tokens

_REPORT_SECONDS = 1.0


@dataclass(frozen=True)
class Checkpoint:
    """A trained file at a rung, with the mean loss since the last rung.

    The file is a LoRA, or DreamBooth's whole weights, of which only the last rung's file is kept.
    """

    step: int
    path: Path
    loss: float


def train(
    base: BaseModel,
    training_set: TrainingSet,
    config: TrainConfig,
    rungs: Sequence[int],
    folder: Path,
) -> Generator[Progress | Checkpoint, None, None]:
    """Train one run of `config` and yield a Checkpoint at each of `rungs`.

    `rungs` are optimizer steps, ascending; `folder` is the trial's folder. The file of a
    Checkpoint is in its `rung_*` before the Checkpoint is yielded. Progress comes about once a
    second. The same seed gives the same weights on a CPU. Raises DivergedError when the loss or a
    weight is not finite, ConfigError for an optimizer that cannot run here.
    """
    with adapter.loaded(base, None):
        batches = batches_of(base, training_set, config, rungs[-1])
    accelerator = Accelerator(cpu=base.device.type == "cpu", mixed_precision=mixed_precision(base))
    try:
        run = Run(base, accelerator, config, batches, rungs[-1])
        yield from _climb(Trainer(base, accelerator, run), rungs, TrialFolder(folder))
    finally:
        adapter.detach(base, ADAPTER)
        accelerator.free_memory()


def _climb(
    trainer: Trainer, rungs: Sequence[int], folder: TrialFolder
) -> Iterator[Progress | Checkpoint]:
    step = 0
    for rung in rungs:
        # The clock restarts, because the caller samples and scores at a checkpoint.
        since, reported = time.monotonic(), step
        with (
            parked(trainer.base, trainer.idle),
            computed(
                trainer.run.trained.unet, trainer.places, trainer.checkpointing, trainer.precision
            ),
            trainer.quickly(),
        ):
            while step < rung:
                trainer.step(step)
                step += 1
                seconds = time.monotonic() - since
                if seconds >= _REPORT_SECONDS or step == rung:
                    done = step - reported
                    loss, rate = trainer.read_loss(step), trainer.run.learning_rate
                    yield Progress(step, rungs[-1], done / seconds, loss, rate)
                    since, reported = time.monotonic(), step
        yield trainer.checkpoint(step, folder)


@dataclass
class Trainer:
    """A run on its device: the state from one optimizer step to the next."""

    base: BaseModel
    accelerator: Accelerator
    run: Run
    schedule: DDPMScheduler = field(init=False)
    checkpointing: bool = field(init=False)
    steps_read: int = 0
    rung_start: int = 0
    rung_loss: float = 0.0
    last_file: Path | None = None
    graphs: Graphs = field(init=False)

    def __post_init__(self) -> None:
        """Prepare what a step needs beside the run: noise levels, precision, idle models."""
        self.schedule = DDPMScheduler.from_config(self.base.pipeline.scheduler.config)
        self.loss = torch.zeros((), device=self.base.device)
        self.checkpointing = self._needs_checkpointing()
        self.graphs = Graphs(enabled=self._can_record())
        self.dtype = self.base.dtype  # diffusers searches all parts of the UNet for it
        sources = [batches for batches, _ in self.run.batches]
        self.places = max(
            part.mean.shape[-2:].numel() for batches in sources for part in batches.latents.parts
        )
        # Latents are computed already; a text encoder of the base too is idle where the states of
        # all captions are kept, or where a copy of it is trained.
        encodes = any(batches.needs_encoder for batches in sources)
        pairs = zip(self.base.encoders.values(), self.run.trained.encoders, strict=True)
        unused = [own for own, trained in pairs if not encodes or own is not trained]
        self.idle = [self.base.pipeline.vae, *unused]

    @property
    def precision(self) -> str:
        """Precision of products, in the words of accelerate: bf16, fp16 or no."""
        return str(self.accelerator.mixed_precision)

    def _needs_checkpointing(self) -> bool:
        setting = self.run.config.gradient_checkpointing
        if setting is not None:
            return setting
        count = sum(weight.numel() for weight in self.run.weights)
        return is_short(self.base, self.run.config, count)

    def _can_record(self) -> bool:
        on_gpu = self.base.device.type == "cuda" and self.base.graphs
        # The processor scales gradients of fp16, and sets random numbers for the two others.
        steady = self.precision != "fp16" and self.run.config.lora_dropout == 0
        return on_gpu and steady and not self.checkpointing

    @contextmanager
    def quickly(self) -> Iterator[None]:
        """Run steps as CUDA graphs for a while, or compiled where they cannot be graphs."""
        if not self.graphs.enabled:
            with compiled(self.base):
                yield
            return
        self.run.keeps_gradients = True
        try:
            yield
        finally:
            self.graphs.forget()

    def step(self, done: int) -> None:
        """Make one optimizer step after `done` others. Never waits for the device."""
        for _ in range(self.run.config.gradient_accumulation):
            for place, (batches, _) in enumerate(self.run.batches):
                inputs = self._inputs(batches, done)
                self.graphs.run(partial(self._pass, place), inputs, f"pass of source {place}")
        self.run.move(self.accelerator, self.graphs)

    def _inputs(self, batches: Batches, done: int) -> Inputs:
        """Draw a batch; its tensors on the device are all that a pass depends on."""
        device, config = self.base.device, self.run.config
        texts = batches.texts(done)
        batch = batches.draw(config.batch_size)
        rows = batches.rows(texts, batch, config.empty_prompt)
        chosen = batches.latents.of(batch)
        mean = chosen.mean
        latents = mean + chosen.std * sent(batches.normal(mean.shape), device)
        noise = batches.normal(mean.shape)
        timesteps = torch.randint(
            self.schedule.config.num_train_timesteps, (len(rows),), generator=batches.random
        )
        if config.noise_offset > 0:
            # One number for a whole channel lets brightness change (Guttenberg 2023).
            noise = noise + config.noise_offset * batches.normal((*mean.shape[:2], 1, 1))
        return {
            "latents": latents,
            "noise": sent(noise, device),
            "timesteps": sent(timesteps, device),
            "frames": chosen.frames,
            **self._texts(batches, texts, rows),
        }

    def _texts(self, batches: Batches, texts: Texts, rows: torch.Tensor) -> Inputs:
        """Return the states of the captions `rows`, or their tokens where encoders are trained."""
        config = self.run.config
        if texts.states is not None:
            return texts.states.rows(sent(rows, self.base.device)).tensors()
        tokens = step_tokens(self.base, texts, rows, config, batches.tag_random)
        if config.trains_text:
            return {"tokens": tokens}
        with torch.no_grad(), torch.autocast(self.base.device.type, enabled=False):
            # as if kept in `texts.states`
            encoders = self.run.trained.encoders
            return self.base.family.text_states(encoders, tokens, config.clip_skip).tensors()

    def _pass(self, place: int, inputs: Inputs) -> None:
        """Add the gradients of one batch of the source `place` to those of the weights."""
        loss = self._loss(inputs) / self.run.config.gradient_accumulation
        self.accelerator.backward(loss * self.run.batches[place][1])
        if place == 0:  # not the prior's, so that losses compare across trials
            self.loss += loss.detach()

    def _loss(self, inputs: Inputs) -> torch.Tensor:
        config = self.run.config
        latents, noise, timesteps = inputs["latents"], inputs["noise"], inputs["timesteps"]
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        with self.accelerator.autocast(), self.run.dropout(self.base.device):
            prediction = self.base.family.predict(
                self.run.trained.unet,
                noisy.to(self.dtype),
                timesteps,
                self._states(inputs),
                inputs["frames"],
            )
        goal = losses.target(self.schedule, latents, noise, timesteps)
        if config.min_snr_gamma is None:
            return losses.mean_squared_error(prediction, goal)
        weights = losses.min_snr_weights(self.schedule, timesteps, config.min_snr_gamma)
        return losses.mean_squared_error(prediction, goal, weights)

    def _states(self, inputs: Inputs) -> TextStates:
        """Return the captions' states in the precision of products, once for all layers."""
        half = product_dtype(self.base.device, self.dtype)
        if "tokens" not in inputs:
            return TextStates(inputs["hidden"], inputs.get("pooled")).to(half)
        read, encoders = self.base.family.text_states, self.run.trained.encoders
        return read(encoders, inputs["tokens"], self.run.config.clip_skip).to(half)

    def read_loss(self, step: int) -> float:
        """Return the mean loss since the last reading. Waits for the device."""
        steps, self.steps_read = step - self.steps_read, step
        total = float(self.loss)
        if not math.isfinite(total):
            raise DivergedError(f"loss is {total} by step {step}")
        self.rung_loss += total
        self.loss.zero_()
        return total / steps

    def checkpoint(self, step: int, folder: TrialFolder) -> Checkpoint:
        """Write the trained file of rung `step` and start the next rung's mean loss."""
        run = self.run
        # float16 is what the file holds: a weight beyond its range is lost there.
        finite = [part.detach().half().isfinite().all() for part in run.weights]
        if not torch.stack(finite).all():
            raise DivergedError(f"weights are not finite at step {step}")
        path = folder.rung(step).trained(run.config.method)
        own, *prior = (batches.pictures for batches, _ in run.batches)
        metadata = training_metadata(self.base, run.config, step)
        longest = max(batches.longest for batches, _ in run.batches)
        chunks = longest // int(self.base.pipeline.tokenizer.model_max_length)
        metadata |= run_metadata(run.config, step, own, sum(prior), self.precision, chunks)
        run.trained.save(path, metadata)
        if run.config.method != "lora" and self.last_file is not None:
            self.last_file.unlink(missing_ok=True)  # 2 GB each, for Stable Diffusion
        self.last_file = path
        mean_loss = self.rung_loss / (step - self.rung_start)
        self.rung_start, self.rung_loss = step, 0.0
        return Checkpoint(step, path, mean_loss)
