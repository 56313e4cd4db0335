"""Measure one training step and one suite of samples of the mannequin, and what they are made of.

    python benchmarks/step.py [--seconds 5] [--compiled [torch]]

A LoRA step (rank 16, batch 16, 64 and 96 px) and the drawing of 26 samples of 10 guided steps, in
bfloat16 and in float32, as `tuner run` makes them, and in bfloat16 with weights in channels_last;
on a processor with one thread, as a worker has, and in processor time, which other programs change
little. All arms and plain matrix products of 2048 x 2048 in both precisions take turns in one
process, started as a worker's is, with three steps or products in a row, until each arm has taken
`--seconds`. Operations are those that torch counts. Checked first: bfloat16 against float32,
channels_last against eager, and with `--compiled`, which takes minutes and needs a C++ compiler,
the compiled UNet against eager: as `tuner` compiles it, or with `torch` by torch's own settings.
Then a step is watched: how often it makes the host wait for a value (never, or an accelerator
stands still), and which operations take its time. Results: benchmarks/results/step.json and
step.md, with `torch` step_torch instead.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from accelerate import Accelerator
from machine import RESULTS, write_result
from step_operations import watch
from step_page import page
from torch.utils.flop_counter import FlopCounterMode

from tuner.models import BaseModel, draw, load_base
from tuner.models.compiled import compile_unet
from tuner.space import SuiteConfig, TrainConfig
from tuner.storage.files import write_text
from tuner.terminal import end_with_parent
from tuner.training.loop import Trainer
from tuner.training.memory import computed
from tuner.training.run import Run
from tuner.trial.timing import noise_batches
from tuner.worker.environment import set_environment
from tuner.worker.share import keep_freed_memory

SIZES = (64, 96)
SAMPLES = 26
SUITE = SuiteConfig(name="persons", seeds=4, size=64, steps=10, guidance_scale=3.0)
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
WAYS = ("eager", "channels_last", "compiled", "compiled, torch's settings")
SIDE = 2048
TURN = 3
"""Steps or products in a row: a worker makes one step after another, with what is in the caches."""

FEWEST = 2
"""Times that an arm is measured at least."""

LOSS_TOLERANCE = {"float32": 0.01, "eager": 0.002}
"""Relative difference of the mean loss of the first steps, by what an arm is compared with."""

PIXEL_TOLERANCE = {"float32": 4.0, "eager": 2.0}
"""Mean difference of the samples' pixels, of 255."""


@dataclass
class Arm:
    """One kind of work, done in one of WAYS: `work` does it once and returns what is checked."""

    name: str
    precision: str
    way: str
    units: int
    work: Callable[[], Any]
    operations: float = float("nan")
    first: Any = None
    seconds: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--compiled", nargs="?", const="tuner", choices=("tuner", "torch"))
    options = parser.parse_args(arguments)
    set_environment()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=compare, args=(options.seconds, options.compiled))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the process that measures ended with exit code {process.exitcode}")


def compare(seconds: float, compiled: str | None) -> None:
    """Check and measure all arms in this process, and write the results and print them."""
    end_with_parent()
    torch.set_num_threads(1)
    keep_freed_memory()
    with contextlib.ExitStack() as stack:
        ways = WAYS[:2] + {"tuner": WAYS[2:3], "torch": WAYS[3:]}.get(compiled or "", ())
        arms = prepared(stack, ways)
        checks = checked(arms)
        print("\n".join(checks), flush=True)
        rates = measure(arms, seconds)
        watched = watch(next(arm for arm in arms if arm.precision == "bfloat16").work)
    rows = [row(arm, rates) for arm in arms]
    name = "step_torch" if compiled == "torch" else "step"
    write_result(name, {"arms": rows, "products": rates, "step": watched, "checks": checks})
    text = page(rows, SIDE, rates, watched, checks)
    write_text(RESULTS / f"{name}.md", text)
    print(text)


def prepared(stack: contextlib.ExitStack, ways: Sequence[str]) -> list[Arm]:
    """Return all arms, each with a base of its own; ways other than eager in bfloat16 only."""
    arms = []
    for precision, way in [("float32", WAYS[0]), *(("bfloat16", way) for way in ways)]:
        arms += [training(stack, precision, way, size) for size in SIZES]
        arms.append(sampling(precision, way))
    return arms


def training(stack: contextlib.ExitStack, precision: str, way: str, size: int) -> Arm:
    base = opened(precision, way)
    config = TrainConfig(batch_size=16, rank=16, resolution=size, learning_rate=1e-3)
    accelerator = Accelerator(cpu=base.device.type == "cpu", mixed_precision="bf16")
    if precision == "float32":  # a process has one precision for all of its Accelerators
        accelerator.autocast = contextlib.nullcontext
    torch.manual_seed(0)  # the same pictures of noise in all arms
    run = Run(base, accelerator, config, [(noise_batches(base, config), 1.0)], steps=1000)
    trainer = Trainer(base, accelerator, run)
    kind = "bf16" if precision == "bfloat16" else "no"
    stack.enter_context(computed(run.trained.unet, trainer.places, False, kind))

    def step() -> float:
        trainer.step(0)
        return trainer.read_loss(trainer.steps_read + 1)  # waits for the device

    return Arm(f"LoRA step, batch 16, {size} px", precision, way, 1, step)


def sampling(precision: str, way: str) -> Arm:
    base = opened(precision, way)

    def drawn() -> np.ndarray:
        with patch("tuner.models.base.multiplies_bfloat16", lambda _: precision == "bfloat16"):
            return np.stack(draw(base.pipeline, SUITE, range(SAMPLES))).astype(float)

    return Arm("sample of 10 steps, 64 px", precision, way, SAMPLES, drawn)


def opened(precision: str, way: str) -> BaseModel:
    """Return a base; a processor's weights stay float32, autocast multiplies in `precision`."""
    base = load_base("mannequin")
    if base.device.type != "cpu":
        base.pipeline.to(DTYPES[precision])
    if way == "compiled":
        compile_unet(base.pipeline.unet)
    elif way.startswith("compiled"):
        base.pipeline.unet.compile()
    if way == "channels_last":
        base.pipeline.unet.to(memory_format=torch.channels_last)
    return base


def checked(arms: Sequence[Arm]) -> list[str]:
    """Run each arm for the first time, which also warms it up, and compare the results.

    The first eager run counts its operations. Ends the program where a difference is too large.
    """
    lines = []
    for arm in arms:
        compiled = arm.way.startswith("compiled")
        counting = contextlib.nullcontext() if compiled else FlopCounterMode(display=False)
        with counting as counter:
            arm.first = arm.work()
        if counter is not None:
            arm.operations = float(counter.get_total_flops())
        if arm.units == 1:
            arm.first = np.mean([arm.first, arm.work(), arm.work()])
        other = _compared_with(arm, arms)
        if other is None:
            continue
        arm.operations = arm.operations if counter is not None else other.operations
        against = "float32" if arm.way == "eager" else "eager"
        if arm.units == 1:
            unit, limit = "of the mean loss of three steps", LOSS_TOLERANCE[against]
            difference = abs(arm.first / other.first - 1)
        else:
            unit, limit = "of 255, mean over pixels", PIXEL_TOLERANCE[against]
            difference = np.abs(arm.first - other.first).mean()
        line = f"{label(arm)} against {against}: {difference:.2g} {unit} (allowed: {limit:g})"
        if not difference <= limit:
            raise SystemExit(f"not measured, because results differ: {line}")
        lines.append(line)
    return lines


def _compared_with(arm: Arm, arms: Sequence[Arm]) -> Arm | None:
    if (arm.precision, arm.way) == ("float32", "eager"):
        return None
    kind = ("float32" if arm.way == "eager" else arm.precision, "eager")
    same = (each for each in arms if (each.precision, each.way) == kind)
    return next((each for each in same if each.name == arm.name), None)


def measure(arms: Sequence[Arm], seconds: float) -> dict[str, float]:
    """Time arms and matrix products in turns; return the products' operations a second."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    matrices = {
        name: torch.randn(SIDE, SIDE, device=device, dtype=dtype) for name, dtype in DTYPES.items()
    }
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    rates: dict[str, list[float]] = {name: [] for name in DTYPES}

    def timed(work: Callable[[], object], times: int = TURN) -> float:
        start = clock()
        for _ in range(times):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (clock() - start) / times

    for matrix in matrices.values():
        timed(lambda matrix=matrix: matrix @ matrix)
    while waiting := [arm for arm in arms if _goes_on(arm, seconds)]:
        for arm in waiting:
            arm.seconds.append(timed(arm.work, TURN if arm.units == 1 else 1))
        for name, matrix in matrices.items():
            rates[name].append(2 * SIDE**3 / timed(lambda matrix=matrix: matrix @ matrix))
    return {name: median(values) for name, values in rates.items()}


def _goes_on(arm: Arm, seconds: float) -> bool:
    taken = sum(arm.seconds) * (TURN if arm.units == 1 else 1)
    return len(arm.seconds) < FEWEST or taken < seconds


def row(arm: Arm, rates: Mapping[str, float]) -> dict[str, Any]:
    seconds = median(arm.seconds)
    rate = arm.operations / seconds
    return {
        "what": arm.name,
        "precision": arm.precision,
        "way": arm.way,
        "milliseconds": round(1000 * seconds / arm.units, 1),
        "gflop": round(arm.operations / arm.units / 1e9, 2),
        "gflop_per_second": round(rate / 1e9, 1),
        "share": round(rate / rates[arm.precision], 3),
        "times": len(arm.seconds),
    }


def label(arm: Arm) -> str:
    return f"{arm.name}, {arm.precision}{'' if arm.way == 'eager' else f', {arm.way}'}"


if __name__ == "__main__":
    main()
