"""Measure the process that runs a study beside 1 to 64 workers that sleep in place of training.

    python benchmarks/workers.py [COUNT ...] [--seconds 25] [--trials 4]

The controller is that of `tuner run`: it asks Optuna, follows the workers' messages, stores their
rungs in results.db and optuna.db, and prints its lines. The workers are those of sleepers.py. The
numbers go to benchmarks/results/workers.json, workers.md and workers.png; all counts take a quarter
of an hour, in which two cores are nearly idle.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from machine import RESULTS, write_result
from sleepers import GRID, SPREAD, Waits, asleep

from tuner.cli.live import View, plain_lines
from tuner.events import Event
from tuner.space import load_study
from tuner.storage import StudyFolder, replacing
from tuner.storage.files import write_text
from tuner.study.begin import open_session
from tuner.study.hours import RunClock
from tuner.study.memory.workers import WorkerTable
from tuner.study.study import search, take_up
from tuner.worker import trial_attempts
from tuner.worker.attempts import base_scores
from tuner.worker.share import Share
from tuner.worker.worker import Worker

SPACE = Path(__file__).parents[1] / "search_spaces" / "pose.yaml"
COUNTS = (1, 2, 4, 8, 16, 32, 64)
MOST_IDLE, MOST_OF_A_CORE = 0.03, 0.05
"""What is allowed at 64 workers."""


@dataclass(frozen=True)
class Run:
    """A study with `workers` workers: its trials, its seconds, and what the controller needed.

    `idle` is the mean share of a worker's time, from its first trial to the end of its last, in
    which it waited for the controller; `core` is the controller's share of one core, and
    `milliseconds` its processor time for each trial.
    """

    workers: int
    trials: int
    seconds: float
    idle: float
    core: float
    milliseconds: float

    @property
    def per_minute(self) -> float:
        return 60 * self.trials / self.seconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("counts", nargs="*", type=int, default=COUNTS)
    parser.add_argument("--seconds", type=float, default=25.0, help="of a trial")
    parser.add_argument("--trials", type=int, default=4, help="of each worker")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    spawn, runs = multiprocessing.get_context("spawn"), []
    for count in options.counts:
        with ProcessPoolExecutor(1, spawn) as pool:  # a fresh process for each
            trials = count * options.trials
            runs.append(pool.submit(measure, count, trials, options.seconds).result())
        print(runs[-1], file=sys.stderr, flush=True)
    runs.sort(key=lambda run: run.workers)
    seconds = {"seconds_a_trial": options.seconds, "runs": [asdict(run) for run in runs]}
    write_result("workers", seconds)
    write_text(options.results / "workers.md", page(runs, options.seconds))
    draw(runs, options.seconds, options.results / "workers.png")


def measure(count: int, trials: int, seconds: float) -> Run:
    """Run a study of `trials` trials on `count` sleeping workers, and return what it needed."""
    config = load_study(SPACE, trials=trials, set_values=["budget.keep=0.9", "budget.confirm=0"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = StudyFolder(Path(temporary) / "study")
        folder.create()
        shutil.copyfile(GRID, folder.root / "grid.png")
        with (
            contextlib.ExitStack() as stack,
            asleep(folder, count, seconds) as (host, results),
            open_session(config, folder, {}) as session,
        ):
            view = View(config.study, trials, config.objectives)
            pool = [
                stack.enter_context(contextlib.closing(Worker(host, None, Share(at, count))))
                for at in range(count)
            ]
            table = stack.enter_context(contextlib.closing(WorkerTable(folder, pool)))
            clock = RunClock(session.store)

            def study() -> Generator[Event, None, None]:
                yield from take_up(session)
                base = base_scores(pool[0], config, folder, session.store)
                runs = [partial(trial_attempts, worker, config.budget) for worker in pool]
                yield from search(session, *runs, base=base, clock=clock, pool=pool, table=table)

            began, used = time.monotonic(), time.process_time()
            for _ in plain_lines(view, study()):
                pass
            took, used = time.monotonic() - began, time.process_time() - used
            stack.close()
            waits: list[Waits] = results.recv()
    return Run(count, trials, took, idle(waits), used / took, 1000 * used / trials)


def idle(waits: Sequence[Waits]) -> float:
    """Return the mean share of its time in which a worker waited for the controller."""
    shares = [each.waited / (each.ended - each.began) for each in waits if each.trials]
    return sum(shares) / len(shares)


def page(runs: Sequence[Run], seconds: float) -> str:
    """Return the table in Markdown."""
    last, first = runs[-1], runs[0]
    lines = [
        "# The controller and its workers",
        "",
        f"Made by `python benchmarks/workers.py`: the workers sleep for trials of {seconds:g} s "
        f"({1 - SPREAD:g} to {1 + SPREAD:g} times that) and send what workers send, with the "
        f"samples and scores of the published study `pose`; {last.trials // last.workers} trials a "
        "worker, of which few are stopped early (`keep: 0.9`). The controller is that of `tuner "
        "run`, with both databases on this disk. Idle: the mean share of a worker's time in which "
        "it waits for the controller, from its first trial to its last.",
        "",
        f"With {last.workers} workers they are idle for {last.idle:.1%} of their time (allowed: "
        f"{MOST_IDLE:.0%}), and the controller needs {last.core:.1%} of one core (allowed: "
        f"{MOST_OF_A_CORE:.0%}).",
        "",
        "| workers | trials | trials a minute | times one worker | idle | controller, of a core "
        "| ms of processor a trial |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        times = run.per_minute / first.per_minute * first.workers
        lines.append(
            f"| {run.workers} | {run.trials} | {run.per_minute:.1f} | {times:.1f} | "
            f"{run.idle:.2%} | {run.core:.2%} | {run.milliseconds:.1f} |"
        )
    lines += ["", "![Trials a minute against workers](workers.png)"]
    return "\n".join(lines) + "\n"


def draw(runs: Sequence[Run], seconds: float, path: Path) -> None:
    """Draw the trials a minute against the workers, beside workers that never wait, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")  # no window: the picture is a file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    counts = [run.workers for run in runs]
    ideal = [60 * count / seconds for count in counts]
    axes.plot(counts, ideal, color="#9aa5b1", label=f"a trial each {seconds:g} s, never waiting")
    measured = [run.per_minute for run in runs]
    axes.plot(counts, measured, "o-", color="#1f4e79", label="measured, with the study's end")
    axes.set(xscale="log", yscale="log", xlabel="workers", ylabel="trials a minute")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.legend(fontsize=8, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
