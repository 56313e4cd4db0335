"""Time the work of a trial on this machine: a training step and a sampling step, on the real base.

Pictures are noise: a step takes the same time whatever it learns, and no data have to be there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import psutil  # type: ignore[import-untyped]
import torch
from accelerate import Accelerator

from tuner.data import TrainingSet
from tuner.data.folder import TrainingImage
from tuner.models import BaseModel, adapter, load_base
from tuner.models.memory_errors import halved_until_it_fits, naming_memory_errors
from tuner.models.sampling import batch_size, quickly
from tuner.space import SuiteConfig, TrainConfig
from tuner.training.graphs import EAGER_PASSES
from tuner.training.latents import Bucketed, Latents
from tuner.training.loop import Trainer
from tuner.training.memory import computed, mixed_precision, parked
from tuner.training.run import ADAPTER, Batches, Run, Stage
from tuner.training.texts import texts_of

_ENOUGH = 0.5
"""Seconds for which each kind of work is repeated."""

_SLOW = 0.15
"""Seconds of a single picture on a CPU from which it stands for all: a batch would take minutes."""

_FEWEST = 3
"""Times that it is repeated at least: on a machine that others use, one of them may be slow."""

Clock = Callable[[], float]
"""A clock: seconds since any moment."""

_CAPTION = "1girl, solo, full body, standing, black hair, long hair, red dress, plain background"


@dataclass(frozen=True)
class Timing:
    """Seconds of work on this machine, by picture: `train` for an optimizer step, `sample` for a
    guided denoising step, `decode` for making the pixels; `load` until this process had the base.

    Pictures have the sizes of the `TrainConfig` and the `SuiteConfig` that were timed. `threads`
    are those of the worker, `cpu` is True without a GPU.
    """

    train: float
    sample: float
    decode: float
    load: float
    threads: int
    cpu: bool


def time_work(
    base_name: str, prediction: str | None, train: TrainConfig, suite: SuiteConfig, workers: int
) -> Timing:
    """Load the base and time a step of `train` and of sampling `suite`, on a worker's share.

    On a CPU that is an equal part of the cores for each of `workers`. Steps are repeated for a
    moment; on a CPU, a step of a single picture that takes longer stands for all.
    A worker with one thread is timed by its processor time, which other programs change little.
    Raises MissingModelError for a base that cannot be read, OutOfMemoryError for a step that does
    not fit, or for a single sample.
    """
    threads = torch.get_num_threads()
    with naming_memory_errors():
        base = load_base(base_name, prediction=prediction)
        cpu = base.device.type == "cpu"
        try:
            if cpu:
                torch.set_num_threads(max(1, threads // workers))
            clock = work_clock(cpu)
            load = clock() if clock is time.process_time else _age()
            return _timed(base, train.model_copy(update=_PLAIN), suite, clock, load)
        finally:
            torch.set_num_threads(threads)


_PLAIN = {
    "gradient_accumulation": 1,
    "prior_weight": 0.0,
    "first_captions": None,
    "learning_rate": 1e-6,
}
"""Settings of the timed step: how often it is made is not part of it, and on noise a high learning
rate could make weights that are no finite numbers."""


def work_clock(cpu: bool) -> Clock:
    """Return the clock for work on a `cpu` or a GPU.

    One thread is timed by its processor time, which other programs change little.
    """
    alone = cpu and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def _age() -> float:
    return time.time() - float(psutil.Process().create_time())


def _timed(
    base: BaseModel, train: TrainConfig, suite: SuiteConfig, clock: Clock, load: float
) -> Timing:
    cpu = base.device.type == "cpu"
    accelerator = Accelerator(cpu=cpu, mixed_precision=mixed_precision(base))
    per_picture = partial(_per_picture, clock, cpu)
    try:
        run = Run(base, accelerator, train, [(noise_batches(base, train), 1.0)], steps=1000)
        trainer = Trainer(base, accelerator, run)
        with (
            parked(base, trainer.idle),
            computed(run.trained.unet, trainer.places, trainer.checkpointing, trainer.precision),
            trainer.quickly(),
        ):
            step = per_picture(lambda count: _step(trainer, count), train.batch_size)
        drawn = min(batch_size(base, suite.image_size), suite.samples)
        with torch.no_grad():
            with quickly(base.pipeline, _noise(base, suite.image_size, 1)[0, 0].numel()):
                denoise = partial(per_picture, lambda count: _denoise(base, run, suite, count))
                sample, drawn = halved_until_it_fits(denoise, drawn)
            decode, _ = halved_until_it_fits(
                partial(per_picture, partial(_decode, base, suite)), drawn
            )
        return Timing(step, sample, decode, load, torch.get_num_threads(), cpu)
    finally:
        adapter.detach(base, ADAPTER)
        accelerator.free_memory()


def _per_picture(clock: Clock, cpu: bool, work: Callable[[int], None], batch: int) -> float:
    """Return the seconds of a picture of `work`, which is called with the size of a batch."""

    def seconds(count: int) -> float:
        start = clock()
        work(count)
        return clock() - start

    few = 1 if cpu else batch
    first = seconds(few)
    if cpu and first > _SLOW and (again := seconds(few)) > _SLOW:
        return again
    for _ in range(1 if cpu else EAGER_PASSES + 1):
        seconds(batch)  # libraries prepare at the first call of each size; a GPU records steps
    start, times = clock(), list[float]()
    while len(times) < _FEWEST or clock() - start < _ENOUGH:
        times.append(seconds(batch))
    return median(times) / batch


def _step(trainer: Trainer, count: int) -> None:
    trainer.run.config = trainer.run.config.model_copy(update={"batch_size": count})
    trainer.step(0)
    trainer.read_loss(trainer.steps_read + 1)  # waits for the device


def _denoise(base: BaseModel, run: Run, suite: SuiteConfig, count: int) -> None:
    """Make one guided step, of `count` pictures with their prompt and without."""
    latents = _noise(base, suite.image_size, 2 * count).to(base.dtype)
    states = base.text_states(base.tokens([_CAPTION]), base.clip_skip).to(base.dtype)
    states = states.rows(torch.zeros(2 * count, dtype=torch.long, device=base.device))
    steps = torch.full((2 * count,), 500, device=base.device)
    frames = _frames(base, suite.image_size, 2 * count)
    float(base.family.predict(run.trained.unet, latents, steps, states, frames).sum())


def _decode(base: BaseModel, suite: SuiteConfig, count: int) -> None:
    latents = _noise(base, suite.image_size, count)
    float(base.family.decode(base.pipeline.vae, latents).sum())


def _noise(base: BaseModel, size: tuple[int, int], count: int) -> torch.Tensor:
    factor = int(base.pipeline.vae_scale_factor)
    channels = int(base.pipeline.unet.config.in_channels)
    return torch.randn(count, channels, size[1] // factor, size[0] // factor, device=base.device)


def _frames(base: BaseModel, size: tuple[int, int], count: int) -> torch.Tensor:
    width, height = size
    frame = torch.tensor([height, width, 0.0, 0.0, height, width], device=base.device)
    return frame.expand(count, -1)


def noise_batches(base: BaseModel, train: TrainConfig) -> Batches:
    """Return batches of noise in place of pictures, all with the same caption."""
    count = train.batch_size
    mean = _noise(base, train.size, count)
    latents = Latents(mean, torch.zeros_like(mean), _frames(base, train.size, count))
    name = hashlib.sha256(b"noise").hexdigest()
    image = TrainingImage(Path("noise"), _CAPTION, name, *train.size)
    pictures = TrainingSet(Path(), (image,) * count, (), (), name)
    bucketed = Bucketed((latents,), (0,) * count, torch.arange(count))
    return Batches(bucketed, [Stage(1, texts_of(base, pictures, train))], train.seed)
