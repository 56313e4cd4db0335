"""Measure training and sampling on an accelerator, with the exact size of a Stable Diffusion.

    python benchmarks/gpu.py [--base sd15|sdxl|mannequin] [--seconds 480] [--result STEM]

Weights are random, so no hub is needed: time and memory do not depend on their values. A LoRA of
rank 16 is trained as `tuner run` trains it (`tuner.training.train`), at 512 and 768 px (Stable
Diffusion XL: 1024 and 1536) with batches of 1 and 4, and a suite of 52 samples of 25 steps is
drawn. Steps are eager, graphed as `tuner` runs them (`tuner.training.graphs`), and compiled as it
does where they cannot be graphs; samples are eager, and compiled as with `compile: always`. One
step is timed once more while a process on each other core judges pictures. Each row has
milliseconds, the rate of floating-point operations as torch counts them in the eager arm, its share
of what a plain bfloat16 matrix product of 8192 x 8192 reaches on the same machine, and the peak of
allocated memory. STEM.json and STEM.md are written after each row. What does not fit into the
seconds is left out and named; the rows that matter most come first. All of them need about 800.

On a machine that has torch, transformers, accelerate, peft, safetensors, scipy, psutil, pyyaml and
lazy-loader, these wheels are enough: diffusers, pydantic, pydantic-core, annotated-types,
typing-inspection, platformdirs and open_clip_torch; triton and a C compiler compile. The judges are
the mannequin's where mediapipe is there too, else products of matrices stand for them. `--base
mannequin --steps 2 --samples 2` tries the script on any machine; `--base sdxl --size 256 --steps 2
--samples 1 --only "256 px, batch 1, eager" --only "256 px, eager" --seconds 1500` is a step and a
sample of the exact SDXL for a processor with 24 GiB.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from gpu_parts import judges_beside, matrix_rate, noise_pictures
from machine import RESULTS, machine, write_result
from random_bases import SIDES, random_base
from torch.utils.flop_counter import FlopCounterMode

from metrics.contract import Prompt
from tuner.data import TrainingSet
from tuner.models import BaseModel, load_base, sample_batches
from tuner.space import SuiteConfig, TrainConfig
from tuner.storage.folder import RungFolder
from tuner.training import Checkpoint, train

WARM_UP = 5

EXPECTED = {"eager": 25, "compiled": 100, "graphed": 20, "judges beside": 45}
"""Seconds that an arm needs at most: an H200 took 20 for an eager one, and compiling the UNet for
training or sampling takes 60 to 100. With less than that left, the arm is left out."""


@dataclass(frozen=True)
class Arm:
    """One measurement: `how` a LoRA step of `batch` pictures runs, or with batch 0 a sample."""

    how: str
    size: int
    batch: int = 0

    @property
    def name(self) -> str:
        work = f"LoRA step, {self.size} px, batch {self.batch}"
        return f"{work if self.batch else f'sample of 25 steps, {self.size} px'}, {self.how}"


@dataclass(frozen=True)
class Row:
    """What an arm measured: milliseconds, operations of a step or sample, peak bytes, a remark.

    Without milliseconds the remark says why there are none.
    """

    name: str
    milliseconds: float | None = None
    operations: float | None = None
    peak: int = 0
    remark: str = ""


@dataclass(frozen=True)
class Work:
    """What the arms share: the base, pictures, the number of steps and samples, and the end."""

    base: BaseModel
    data: TrainingSet
    steps: int
    samples: int
    end: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", choices=(*SIDES, "mannequin"), default="sd15")
    parser.add_argument("--size", type=int, help="the smaller size in pixels")
    parser.add_argument("--only", action="append", help="arms with this in their name")
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--samples", type=int, default=52)
    parser.add_argument("--result", type=Path, default=RESULTS / "gpu", metavar="STEM")
    options = parser.parse_args(arguments)
    end = time.monotonic() + options.seconds
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rate = matrix_rate(device)
    print(f"{name_of_device()}: matrix product {rate / 1e12:.3g} TFLOP/s", flush=True)
    exact = options.base in SIDES
    base = random_base(options.base, device) if exact else load_base("mannequin", device.type)
    small = options.size or base.native_size
    large = small * 3 // 2
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        data = noise_pictures(Path(name, "data"), large)
        work = Work(base, data, options.steps, options.samples, end)
        chosen = arms(small, large, device)
        if options.only:
            chosen = [arm for arm in chosen if any(part in arm.name for part in options.only)]
        for row in measured(work, chosen):
            print(line(row, rate), flush=True)
            rows.append(row)
            write(options.result.absolute(), options.base, device, rate, rows)


def arms(small: int, large: int, device: torch.device) -> list[Arm]:
    """Return the arms, those that matter most first; graphs only where there is CUDA."""
    steps = [(small, 4), (small, 1), (large, 4), (large, 1)]
    ways = ("eager", "graphed") if device.type == "cuda" else ("eager",)
    chosen = [Arm(how, *step) for step in steps for how in ways]
    chosen += [Arm("eager", small), Arm("judges beside", small, 4)]
    chosen += [Arm("compiled", small, 4), Arm("compiled", small)]
    return chosen + [Arm("compiled", *step) for step in steps[1:]]


def measured(work: Work, arms: Sequence[Arm]) -> Iterator[Row]:
    """Yield a row for each of `arms`, also for one that failed or had no time left."""
    operations: dict[tuple[int, int], float] = {}
    for arm in arms:
        left = work.end - time.monotonic()
        if left < EXPECTED[arm.how]:
            yield Row(arm.name, remark=f"left out: {max(0, left):.0f} s were left")
            continue
        try:
            row = measure(work, arm)
        except Exception as error:  # a compiler or a graph that fails ends its own arm only
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            yield Row(arm.name, remark=f"failed: {first}")
            continue
        key = (arm.size, arm.batch)
        if row.operations is not None:
            operations[key] = row.operations
        yield dataclasses.replace(row, operations=operations.get(key))


def measure(work: Work, arm: Arm) -> Row:
    """Return the row of one arm; the UNet is eager again afterwards."""
    base = work.base
    torch._dynamo.reset()  # no graph of an earlier arm makes this one's shapes dynamic
    base.compiles, base.compiled_unet = arm.how == "compiled", None
    base.graphs = arm.how in ("graphed", "judges beside")
    judges = judges_beside() if arm.how == "judges beside" else contextlib.nullcontext("")
    try:
        with judges as remark:
            row = train_row(work, arm) if arm.batch else sample_row(work, arm)
        if arm.how == "compiled" and not base.compiles:
            raise RuntimeError("the compiler failed, see the warning")
        return dataclasses.replace(row, remark=remark)
    finally:
        base.compiles, base.compiled_unet, base.graphs = False, None, True


def train_row(work: Work, arm: Arm) -> Row:
    """Return a row of LoRA training; the clock runs after the warm-up, to the last step's loss."""
    config = TrainConfig(
        rank=16,
        batch_size=arm.batch,
        resolution=arm.size,
        learning_rate=1e-4,
        gradient_checkpointing=False,
    )

    def steps(*rungs: int) -> float:
        began = ended = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            for event in train(work.base, work.data, config, rungs, Path(folder)):
                if isinstance(event, Checkpoint):
                    began, ended = (
                        (time.monotonic(), ended) if event.step == warm_up else (began, ended)
                    )
                else:
                    ended = time.monotonic()
        return ended - began

    warm_up = min(WARM_UP, work.steps)
    operations = None
    if arm.how == "eager":
        steps(1)  # computes and keeps the latents, which are no part of a step
        operations = counted(lambda: steps(2)) - counted(lambda: steps(1))
    reset_peak()
    seconds = steps(warm_up, warm_up + work.steps)
    return Row(arm.name, 1000 * seconds / work.steps, operations, peak())


def sample_row(work: Work, arm: Arm) -> Row:
    """Return a row of the second of two drawings of the samples with a LoRA; per sample."""
    prompts = tuple(Prompt(f"1girl, picture {number}", "female") for number in range(13))
    seeds = max(1, work.samples // len(prompts))
    suite = SuiteConfig(prompts=prompts[: work.samples], seeds=seeds, steps=25, size=arm.size)
    with tempfile.TemporaryDirectory() as name:
        folder = RungFolder(Path(name))
        config = TrainConfig(rank=16, batch_size=1, resolution=arm.size, learning_rate=1e-4)
        compiles, work.base.compiles = work.base.compiles, False  # only the drawing is measured
        *_, trained = train(work.base, work.data, config, (1,), Path(name, "trial"))
        work.base.compiles = compiles
        lora = trained.path if isinstance(trained, Checkpoint) else None

        def drawn(suite: SuiteConfig) -> int:
            return sum(1 for _ in sample_batches(work.base, suite, lora, folder))

        first = suite.model_copy(update={"prompts": prompts[:1], "seeds": 1})
        operations = counted(lambda: drawn(first)) if arm.how == "eager" else None
        drawn(suite)
        reset_peak()
        began = time.monotonic()
        drawn(suite)
        seconds = time.monotonic() - began
    return Row(arm.name, 1000 * seconds / suite.samples, operations, peak())


def counted(work: Callable[[], object]) -> float:
    """Return the floating-point operations of `work`, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> int:
    """Return the most bytes that tensors on the device have held since `reset_peak`."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def name_of_device() -> str:
    return str(machine()["gpu"] or machine()["cpu"])


def line(row: Row, rate: float) -> str:
    """Return a row of the table."""
    if row.milliseconds is None:
        return f"| {row.name} | | | | | {row.remark} |"
    shares = " | "
    if row.operations is not None:
        speed = row.operations / row.milliseconds * 1000
        shares = f"{speed / 1e12:.3g} | {speed / rate:.0%}"
    memory = f"{row.peak / 2**30:.1f}" if row.peak else ""
    return f"| {row.name} | {row.milliseconds:.1f} | {shares} | {memory} | {row.remark} |"


def write(stem: Path, base: str, device: torch.device, rate: float, rows: Sequence[Row]) -> None:
    """Write the results so far: STEM.json for programs, STEM.md for people."""
    numbers = [dataclasses.asdict(row) for row in rows]
    write_result(str(stem), {"base": base, "matrix_product": rate, "rows": numbers})
    on_gpu = device.type == "cuda"
    text = [
        "# Training and sampling on an accelerator",
        "",
        f"`python benchmarks/gpu.py --base {base}` on {name_of_device()}, torch "
        f"{torch.__version__}; a plain matrix product reaches {rate / 1e12:.3g} TFLOP/s.",
        *([] if on_gpu else ["", "This is no run on a GPU: it only shows that the script works."]),
        "",
        "| what | ms | TFLOP/s | share of the matrix product | peak memory, GiB | |",
        "|---|---|---|---|---|---|",
        *(line(row, rate) for row in rows),
        "",
    ]
    stem.with_name(f"{stem.name}.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
