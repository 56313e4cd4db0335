"""Test that a training step of ours and one of the plain loop compute the same loss."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import plain_loop
import torch
from accelerate import Accelerator
from plain_loop import Draws, Task

from tuner.data import TrainingSet
from tuner.models import adapter, load_base
from tuner.models.base import multiplies_bfloat16
from tuner.space import TrainConfig
from tuner.training.loop import Trainer
from tuner.training.memory import computed
from tuner.training.run import ADAPTER, Batches, Run, batches_of

STEPS_COMPARED = 5

PRECISIONS = {"no": ("float32", 1e-3), "bf16": ("bfloat16", 2e-2)}
"""Names of accelerate's precisions, and the largest relative difference of a loss: in float32,
products are summed in another order; bfloat16 has 8 significant bits."""


def agreement(task: Task, train: TrainConfig, data: TrainingSet) -> dict[str, float]:
    """Train some steps in both ways on the same batches, noise and LoRA; compare their losses.

    Returns the largest relative difference by the precision of our engine: float32, and bfloat16 if
    it is used on this machine. Raises AssertionError for a difference above the tolerance.
    """
    bfloat16 = multiplies_bfloat16(torch.device("cpu"))
    found = {}
    for precision in ("no", "bf16") if bfloat16 else ("no",):
        # A process each: accelerate keeps the first precision of a process.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            apart = pool.submit(largest_difference, precision, task, train, data).result()
        name, most = PRECISIONS[precision]
        assert apart <= most, f"losses differ by {apart:.2%} in {name}, allowed: {most:.2%}"
        found[name] = apart
    return found


def largest_difference(precision: str, task: Task, train: TrainConfig, data: TrainingSet) -> float:
    """Return the largest relative difference of a loss over some steps of both ways."""
    base = load_base("mannequin", "cpu")
    accelerator = Accelerator(cpu=True, mixed_precision=precision)
    ours, twin = (batches_of(base, data, train, STEPS_COMPARED) for _ in range(2))
    run = Run(base, accelerator, train, ours, STEPS_COMPARED)
    trainer = Trainer(base, accelerator, run)
    parts = plain_loop.load(task)
    with torch.no_grad():
        for weight, own in zip(parts.weights, adapter.parameters(base, ADAPTER), strict=True):
            weight.copy_(own)
    with computed(run.trained.unet, trainer.places, False, trainer.precision):
        differences = [
            difference(trainer, step, twin[0][0], parts, task) for step in range(STEPS_COMPARED)
        ]
    adapter.detach(base, ADAPTER)
    return max(differences)


def difference(
    trainer: Trainer, done: int, twin: Batches, parts: plain_loop.Parts, task: Task
) -> float:
    """Make a step after `done` others in both ways; return the relative difference of its loss."""
    trainer.step(done)
    ours = trainer.read_loss(done + 1)
    batch, draws = same_draws(twin, trainer)
    pictures = plain_loop.Pictures(task, parts.pipeline.tokenizer)
    drawn = [pictures[int(number)] for number in batch]
    pixels, tokens = (torch.stack([each[key] for each in drawn]) for key in ("pixels", "tokens"))
    loss = plain_loop.loss_of(parts, pixels, tokens, draws)
    plain_loop.move(parts, loss)
    return abs(ours - loss.item()) / loss.item()


def same_draws(twin: Batches, trainer: Trainer) -> tuple[torch.Tensor, Draws]:
    """Return the pictures and the random numbers of a step of `trainer`, from batches like its own.

    They are drawn in the order in which the trainer draws them.
    """
    batch = twin.draw(trainer.run.config.batch_size)
    twin.rows(twin.texts(0), batch, trainer.run.config.empty_prompt)
    shape = twin.latents.of(batch).mean.shape
    encoding, noise = twin.normal(shape), twin.normal(shape)
    steps = trainer.schedule.config.num_train_timesteps
    timesteps = torch.randint(steps, (len(batch),), generator=twin.random)
    return batch, Draws(encoding, noise, timesteps)
