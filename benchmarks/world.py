"""Run the experiments of world_arms.py: does the mannequin behave like Stable Diffusion?

    python benchmarks/world.py [--only a,b] [--seeds 5] [--long-seeds 5] [--report]

A finished run is a line of benchmarks/results/world.jsonl and is not repeated, so that a stopped
command continues. At the end, or at once with --report, world.md and its plots are written beside
it from the lines in it. A run is identified by base, data, settings and the judges' code; an
experiment is reported from the runs of one version of this code, the one with most of its runs.
Runs go in parallel, one on each core, because the networks are too small to gain from a second
core. A run takes one to two minutes.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from world_arms import EFFECTS, Scale
from world_measures import Memory, collapsed, measure, remember
from world_plots import plot_effect
from world_report import ArmMeasures, best_known, report
from world_runs import (
    Run,
    all_runs,
    arm_key,
    fingerprint,
    finished,
    grouped,
    judges_digest,
    judges_in,
    keep,
)

from metrics import open_detectors, score
from metrics.contract import ScoredSample
from metrics.detectors import Detectors
from tuner.data import TrainingSet, read_folder
from tuner.errors import DivergedError
from tuner.judging.models import mannequin_judges
from tuner.mannequin.dataset import data_folder
from tuner.models import BaseModel, load_base, sample_batches
from tuner.space import SuiteConfig
from tuner.storage import shipped
from tuner.storage.files import write_text
from tuner.storage.folder import RungFolder
from tuner.training import Checkpoint, train
from tuner.trial.keep import write_grid

RESULTS = Path(__file__).parent / "results"


@dataclass
class Bench:
    """Models, data and samples that all runs of a worker share, created on first use."""

    base: BaseModel
    judges: Detectors
    scale: Scale
    folder: Path
    grids: Path | None = None
    data: dict[str, tuple[TrainingSet, Memory]] = field(default_factory=dict)
    references: dict[str, list[ScoredSample]] = field(default_factory=dict)

    def training_set(self, variant: str) -> tuple[TrainingSet, Memory]:
        """Return a variant's training set, and the images that copies are compared with."""
        if variant not in self.data:
            images = read_folder(data_folder(variant))
            self.data[variant] = images, remember(images, variant)
        return self.data[variant]

    def reference(self, suite: SuiteConfig) -> list[ScoredSample]:
        """Return the scored samples of the base on `suite`; they are drawn once."""
        name = f"{suite.first_seed} {suite.model_dump_json()}"
        if name not in self.references:
            self.references[name] = self.scored(suite, None)
        return self.references[name]

    def scored(self, suite: SuiteConfig, lora: Path | None) -> list[ScoredSample]:
        """Draw the suite with `lora` and score it. Raises DivergedError."""
        batches = sample_batches(self.base, suite, lora, RungFolder(self.folder))
        return score([sample for batch, _ in batches for sample in batch], self.judges)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    scale = Scale(options.steps, options.noise_seeds)
    world = fingerprint(options.weights)
    lines = options.results / "world.jsonl"
    if not options.report:
        chosen = [effect for effect in EFFECTS if effect.letter in options.only]
        runs = all_runs(chosen, (options.seeds, options.long_seeds), scale, world)
        execute(runs, scale, options)
    known = {judges: _known_arms(lines, judges, scale, world) for judges in judges_in(lines)}
    shown = [(effect, best) for effect in EFFECTS if (best := best_known(effect, known))]
    for effect, judges in shown:
        plot_effect(effect, known[judges], options.results / "world" / f"{effect.letter}.png")
    text = report(shown, known, scale)
    write_text(options.results / "world.md", text)
    print(text)


def _known_arms(lines: Path, judges: str, scale: Scale, world: str) -> ArmMeasures:
    done, arms = finished(lines, judges), {}
    for arm in (arm for effect in EFFECTS for arm in effect.arms):
        name = arm_key(arm, scale, world)
        arms[arm.name] = {seed: measures for (key, seed), measures in done.items() if key == name}
    return arms


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    known = [effect.letter for effect in EFFECTS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(known), help="letters of experiments: a,b")
    parser.add_argument("--seeds", type=int, default=5, help="training seeds of each arm")
    parser.add_argument("--long-seeds", type=int, help="those of the long runs (default: --seeds)")
    parser.add_argument("--steps", type=int, default=Scale.steps, help="optimizer steps")
    parser.add_argument("--noise-seeds", type=int, default=Scale.noise_seeds, help="per prompt")
    cores = 1 if torch.cuda.is_available() else os.cpu_count() or 1
    parser.add_argument("--workers", type=int, default=cores, help="runs at a time")
    parser.add_argument("--report", action="store_true", help="run nothing, only write the report")
    parser.add_argument("--weights", type=Path, default=shipped.WEIGHTS)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--grids", type=Path, help="keep the grids of training seed 0 here")
    options = parser.parse_args(arguments)
    options.only = [letter.strip() for letter in options.only.split(",")]
    if unknown := [letter for letter in options.only if letter not in known]:
        parser.error(f"no experiment {', '.join(unknown)}; allowed: {', '.join(known)}")
    options.long_seeds = options.seeds if options.long_seeds is None else options.long_seeds
    return options


def execute(runs: Sequence[Run], scale: Scale, options: argparse.Namespace) -> None:
    """Do the runs that are missing in the results file, and add each when it is finished."""
    lines = options.results / "world.jsonl"
    done = finished(lines, judges_digest())
    missing = [run for run in runs if (run.key, run.seed) not in done]
    if not missing:
        return
    left = len(missing)
    settings = (options.weights, scale, options.grids)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, spawn, _share_cores, (options.workers,)) as pool:
        groups = [pool.submit(work, settings, group) for group in grouped(missing)]
        for group in as_completed(groups):
            for run, measures, seconds in group.result():
                keep(lines, run, measures, seconds)
                left -= 1
                _print_line(run, measures, seconds, left)


def _share_cores(workers: int) -> None:
    torch.set_num_threads(max(1, torch.get_num_threads() // workers))


def work(
    settings: tuple[Path, Scale, Path | None], group: Sequence[Run]
) -> list[tuple[Run, dict[str, float | None], float]]:
    """Do the runs that share one training, in a worker; return each with measures and seconds."""
    bench, start, done = _bench(*settings), time.monotonic(), []
    for run, measures in measured(bench, group):
        done.append((run, measures, time.monotonic() - start))
        start = time.monotonic()
    return done


@functools.cache
def _bench(weights: Path, scale: Scale, grids: Path | None) -> Bench:
    """Return the bench of a worker, which is kept until the worker exits."""
    opened = ExitStack()
    atexit.register(opened.close)
    folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
    judge = mannequin_judges(weights)
    judges = opened.enter_context(open_detectors(judge))
    return Bench(load_base(str(weights / "base")), judges, scale, folder, grids)


def measured(bench: Bench, group: Sequence[Run]) -> Iterator[tuple[Run, dict[str, float | None]]]:
    """Yield the measures of runs that share one training, at each of their lengths and suites."""
    waiting = list(group)
    try:
        for step, lora in _checkpoints(bench, group):
            while waiting and (lora is None or waiting[0].arm.steps(bench.scale) == step):
                yield waiting[0], _measure(bench, waiting[0], lora)
                del waiting[0]
    except DivergedError:
        yield from ((run, collapsed()) for run in waiting)


def _checkpoints(bench: Bench, group: Sequence[Run]) -> Iterator[tuple[int, Path | None]]:
    first = group[0]
    if not first.arm.lora:
        yield 0, None
        return
    images, _ = bench.training_set(first.arm.data)
    config = first.arm.train_config(first.seed)
    steps = sorted({run.arm.steps(bench.scale) for run in group})
    with closing(train(bench.base, images, config, steps, bench.folder)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Checkpoint):
                yield outcome.step, outcome.path


def _measure(bench: Bench, run: Run, lora: Path | None) -> dict[str, float | None]:
    suite = run.arm.suite_config(bench.scale, run.seed)
    base = bench.reference(suite)
    try:
        scored = base if lora is None else bench.scored(suite, lora)
    except DivergedError:
        return collapsed()
    if bench.grids and run.seed == 0:
        write_grid([each.sample for each in scored], bench.grids / f"{run.arm.name}.png")
    _, memory = bench.training_set(run.arm.data)
    return measure(scored, base, memory)


def _print_line(run: Run, measures: dict[str, float | None], seconds: float, left: int) -> None:
    numbers = ", ".join(f"{name} {value}" for name, value in measures.items() if value is not None)
    print(f"{run.arm.name}, seed {run.seed}: {numbers} ({seconds:.0f} s, {left} left)",
          file=sys.stderr, flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
