"""Measure what Optuna and storage cost per trial in a study of many trials.

    python benchmarks/storage.py [SPACE] [--trials 1000]

Runs a study as `tuner run` does, with its sampler and both databases, but without training: each
rung's pictures are those of the base, sampled and judged once, and its objectives are random, but
better the nearer the learning rate is to 1e-3. What remains of a trial is Optuna's ask and tell,
and storing rungs of 52 samples with their scores, features and grid. The table goes to
benchmarks/results/storage.md. The study is deleted; on two cores 1,000 trials take some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from world import Bench
from world_arms import Scale

from metrics import open_detectors
from metrics.contract import Objective, ScoredSample
from metrics.objectives import objectives, rates
from tuner.events import TrialEnded
from tuner.judging.models import mannequin_judges
from tuner.models import load_base
from tuner.space import StudyConfig, TrainConfig, load_study
from tuner.storage import Store, StudyFolder
from tuner.storage.files import write_text
from tuner.storage.sqlite import write_ahead
from tuner.study.optuna_db import opened
from tuner.study.study import Session, search
from tuner.trial import Rung
from tuner.trial.keep import write_grid

HERE = Path(__file__).parent
SPACE = HERE.parent / "search_spaces" / "pose.yaml"
RESULT = HERE / "results" / "storage.md"
TRIAL_SECONDS = 25.0
"""Seconds of a short trial on a GPU; Optuna and storage may take a hundredth of it."""

WINDOW = 20
"""Number of trials whose median is in a row of the table."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("space", nargs="?", type=Path, default=SPACE)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    config = load_study(options.space, trials=options.trials)
    with tempfile.TemporaryDirectory() as temporary:
        folder = StudyFolder(Path(temporary) / "study")
        folder.create()
        scored = base_samples(config, folder.base)
        seconds = trial_seconds(config, folder, scored)
        size = sum(path.stat().st_size for path in (folder.optuna_db, folder.results_db)) / 2**20
    text = page(config, seconds, size)
    write_text(options.result, text)
    print(text)


def base_samples(config: StudyConfig, folder: Path) -> list[ScoredSample]:
    """Sample and judge the base on the study's suite."""
    settings = mannequin_judges()
    with open_detectors(settings) as judges:
        bench = Bench(load_base("mannequin"), judges, Scale(), folder)
        return bench.reference(config.suite)


def trial_seconds(
    config: StudyConfig, folder: StudyFolder, scored: Sequence[ScoredSample]
) -> list[float]:
    """Run a study in `folder` and return the seconds of each trial."""
    run = runner(config, folder, scored)
    seconds = []
    with (
        write_ahead(folder.optuna_db, folder.results_db),
        opened(config, folder, {}) as memory,
        Store(folder.results_db) as store,
    ):
        since = time.monotonic()
        with contextlib.closing(search(Session(config, folder, memory, store), run)) as events:
            for event in events:
                if isinstance(event, TrialEnded):
                    seconds.append(time.monotonic() - since)
                    since = time.monotonic()
    return seconds


def runner(
    config: StudyConfig, folder: StudyFolder, scored: Sequence[ScoredSample]
) -> Callable[[int, TrainConfig], Iterator[Rung]]:
    """Return a trial whose rungs have the given samples and random objectives."""
    grid = folder.root / "grid.png"
    write_grid([each.sample for each in scored], grid)
    measured, limits = objectives(scored, None), rates(scored)

    def run(number: int, train: TrainConfig) -> Iterator[Rung]:
        rng = np.random.default_rng(number)
        good = math.exp(-(math.log(train.learning_rate / 1e-3) ** 2))
        for step in config.budget.rungs:
            files = folder.trial(number).rung(step)
            files.root.mkdir(parents=True)
            os.link(grid, files.grid)
            values = {name: _drawn(value, good, rng) for name, value in measured.items()}
            yield Rung(step, files.lora, list(scored), values, limits)

    return run


def _drawn(objective: Objective, good: float, rng: np.random.Generator) -> Objective:
    return replace(objective, value=float(np.clip(0.3 + 0.5 * good + 0.1 * rng.normal(), 0, 1)))


def page(config: StudyConfig, seconds: Sequence[float], size: float) -> str:
    """Return the table in Markdown."""
    lines = [
        "# Optuna and storage, per trial",
        "",
        f"Made by `python benchmarks/storage.py`: sampler {config.sampler}, "
        f"{len(config.objectives)} objectives, {len(config.budget.rungs)} rungs of "
        f"{len(config.suite.cells())} samples, nothing trained; medians of {WINDOW} trials.",
        "",
        f"| trials | seconds a trial | of a trial of {TRIAL_SECONDS:g} s |",
        "|---|---|---|",
    ]
    ends = [count for count in (20, 50, 100, 200, 500) if count < len(seconds)]
    for end in [*ends, len(seconds)]:
        median = statistics.median(seconds[max(0, end - WINDOW) : end])
        lines.append(f"| {end} | {median:.3f} | {median / TRIAL_SECONDS:.2%} |")
    lines += ["", f"Both databases together are {size:.0f} MiB then."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
