"""Measure training and sampling on an accelerator, with Stable Diffusion 1.5's exact size.

    python benchmarks/gpu.py [--base sd15|mannequin] [--result FILE]

Weights are random, so no hub is needed: time and memory do not depend on their values. A LoRA of
rank 16 is trained as `tuner run` trains it (`tuner.training.train`), at 512 and 768 px with batches
of 1 and 4; then a suite of 52 samples of 25 steps is drawn; batches of 4 at 512 px and the suite
once more with `torch.compile`. Each row has milliseconds, the rate of floating-point operations as
counted by torch, its share of what a plain bfloat16 matrix product of 8192 x 8192 reaches on the
same machine, and the peak of allocated memory. The judges are not measured: they run on the
processor.

On a machine that has torch, transformers, accelerate, peft, safetensors, scipy, psutil, pyyaml and
lazy-loader, these wheels are enough: diffusers, pydantic, pydantic-core, annotated-types,
typing-inspection and platformdirs. `--base mannequin` tries the script on any machine.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

from metrics.contract import Prompt
from tuner.data import TrainingSet, read_folder
from tuner.models import BaseModel, load_base, sample
from tuner.models.checkpoint import STABLE_DIFFUSION_15
from tuner.models.clip_tokenizer import all_merges, clip_tokenizer
from tuner.space import SuiteConfig, TrainConfig
from tuner.storage.folder import RungFolder
from tuner.training import Checkpoint, train

RESULT = Path(__file__).parent / "results" / "gpu.md"
WARM_UP, STEPS = 5, 60
PICTURES = 16
SIDE = 8192
PRODUCTS = 20


@dataclass(frozen=True)
class Row:
    """One measurement: milliseconds of a step or sample, operations in it, peak bytes."""

    name: str
    milliseconds: float
    operations: float
    peak: int


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", choices=("sd15", "mannequin"), default="sd15")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rate = matrix_rate(device)
    print(f"{device_name(device)}: matrix product {rate / 1e12:.1f} TFLOP/s", flush=True)
    base = random_base(device) if options.base == "sd15" else load_base("mannequin", device.type)
    sizes = (512, 768) if options.base == "sd15" else (64, 96)
    rows = []
    for row in measured(base, sizes):
        print(line(row, rate), flush=True)
        rows.append(row)
        options.result.write_text(report(device, options.base, rate, rows), encoding="utf-8")


def measured(base: BaseModel, sizes: Sequence[int]) -> Iterator[Row]:
    """Yield the rows of the table; `torch.compile` last, because it changes the UNet."""
    with tempfile.TemporaryDirectory() as name:
        data = noise_pictures(Path(name, "data"), max(sizes))
        arms = [(size, batch) for size in sizes for batch in (1, 4)]
        for size, batch in arms:
            yield train_row(base, data, size, batch, "eager")
        yield sample_row(base, sizes[0], "eager")
        base.pipeline.unet.compile()
        yield train_row(base, data, sizes[0], 4, "compiled")
        yield sample_row(base, sizes[0], "compiled")


def train_row(base: BaseModel, data: TrainingSet, size: int, batch: int, how: str) -> Row:
    """Return a row of LoRA training; the clock runs after the warm-up, to the last step's loss."""
    config = TrainConfig(
        rank=16, batch_size=batch, resolution=size, learning_rate=1e-4, gradient_checkpointing=False
    )

    def steps(*rungs: int) -> float:
        began = ended = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            for event in train(base, data, config, rungs, Path(folder)):
                if isinstance(event, Checkpoint):
                    began, ended = (
                        (time.monotonic(), ended) if event.step == WARM_UP else (began, ended)
                    )
                else:
                    ended = time.monotonic()
        return ended - began

    steps(1)  # computes and keeps the latents, which are no part of a step
    operations = counted(lambda: steps(2)) - counted(lambda: steps(1)) if how == "eager" else np.nan
    reset_peak()
    seconds = steps(WARM_UP, WARM_UP + STEPS)
    name = f"LoRA step, {size} px, batch {batch}, {how}"
    return Row(name, 1000 * seconds / STEPS, operations, peak())


def sample_row(base: BaseModel, size: int, how: str) -> Row:
    """Return a row of the second of two drawings of 52 samples; per sample."""
    prompts = tuple(Prompt(f"1girl, picture {number}", "female") for number in range(13))
    suite = SuiteConfig(prompts=prompts, seeds=4, steps=25, size=size)

    def drawn(suite: SuiteConfig) -> int:
        with tempfile.TemporaryDirectory() as folder:
            return sum(1 for _ in sample(base, suite, None, RungFolder(Path(folder))))

    first = suite.model_copy(update={"prompts": prompts[:1], "seeds": 1})
    operations = counted(lambda: drawn(first)) if how == "eager" else np.nan
    drawn(suite)
    reset_peak()
    began = time.monotonic()
    drawn(suite)
    seconds = time.monotonic() - began
    return Row(f"sample of 25 steps, {size} px, {how}", 1000 * seconds / 52, operations, peak())


def counted(work: Callable[[], object]) -> float:
    """Return the floating-point operations of `work`, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def matrix_rate(device: torch.device) -> float:
    """Return the operations a second of a large product in bfloat16, in float32 on a processor."""
    side, dtype = (SIDE, torch.bfloat16) if device.type == "cuda" else (2048, torch.float32)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    synchronize()
    began = time.monotonic()
    for _ in range(PRODUCTS):
        left @ right
    synchronize()
    return PRODUCTS * 2 * side**3 / (time.monotonic() - began)


def random_base(device: torch.device) -> BaseModel:
    """Return a base of Stable Diffusion 1.5's size with random weights, in bfloat16."""
    parts = {name: STABLE_DIFFUSION_15 / name for name in ("unet", "vae", "text_encoder")}
    with device:
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(parts["unet"]))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(parts["vae"]))
        encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(parts["text_encoder"]))
    pipeline = StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=encoder,
        tokenizer=clip_tokenizer(all_merges()),
        scheduler=PNDMScheduler.from_pretrained(STABLE_DIFFUSION_15 / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    for part in (unet, vae, encoder):
        part.requires_grad_(False)
        part.eval()
    return BaseModel("random_sd15", pipeline, device, native_size=512)


def noise_pictures(folder: Path, side: int) -> TrainingSet:
    """Write pictures of noise with captions, and return them as a training set."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text("1girl, solo, red shirt", encoding="utf-8")
    return read_folder(folder)


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> int:
    """Return the most bytes that tensors on the device have held since `reset_peak`."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else platform.processor()


def line(row: Row, rate: float) -> str:
    """Return a row of the table."""
    speed = row.operations / row.milliseconds * 1000
    shares = (
        f"{speed / 1e12:.1f} | {speed / rate:.0%}" if row.operations == row.operations else "| "
    )
    return f"| {row.name} | {row.milliseconds:.1f} | {shares} | {row.peak / 2**30:.1f} |"


def report(device: torch.device, base: str, rate: float, rows: Sequence[Row]) -> str:
    """Return the result file: where it was measured, and the table."""
    return "\n".join(
        [
            "# Training and sampling on an accelerator",
            "",
            f"`python benchmarks/gpu.py --base {base}` on {device_name(device)}, torch "
            f"{torch.__version__}; a plain matrix product reaches {rate / 1e12:.1f} TFLOP/s.",
            "",
            "| what | ms | TFLOP/s | share of the matrix product | peak memory, GiB |",
            "|---|---|---|---|---|",
            *(line(row, rate) for row in rows),
            "",
        ]
    )


if __name__ == "__main__":
    main()
