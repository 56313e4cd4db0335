"""Measure one trial against the plain way: a fresh process with a loop of diffusers and peft.

    python benchmarks/trial.py [--repetitions 2]

A trial trains a LoRA of rank 16 for 150 steps of 16 pictures at 64 px, draws the 52 samples of
search_spaces/pose.yaml in 10 steps, and scores them. The plain way is plain_loop.py, which has all
cores. Ours is the share of a trial in a running study: as many workers as cores, loaded already,
each with one thread and a whole trial of its own; seconds are divided by their number. Both are
measured by turns.

First their losses are compared: the same batches, noise and LoRA for some steps must give the same
loss. The numbers go to benchmarks/results/trial.json, the table to trial.md beside it. On two cores
this takes ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import plain_loop
import psutil
from machine import RESULTS, machine, write_result
from plain_loop import Task
from trial_losses import STEPS_COMPARED, agreement

from tuner.data import TrainingSet
from tuner.events import Phase
from tuner.space import StudyConfig, TrainConfig, load_study
from tuner.space.base_name import mannequin_weights
from tuner.storage import StudyFolder
from tuner.storage.files import write_text
from tuner.study.begin import open_session
from tuner.study.record import data_hashes, read_data
from tuner.trial import Rung, TrialWork
from tuner.trial.messages import Idle, Outcome
from tuner.worker import Worker
from tuner.worker.attempts import base_scores
from tuner.worker.channel import ThisMachine
from tuner.worker.environment import set_environment
from tuner.worker.share import Share

HERE = Path(__file__).parent
SPACE = HERE.parent / "search_spaces" / "pose.yaml"
DEMO_TRIALS = 12
"""Trials of README's demo."""
PHASES = ("start", "train", "sample", "judge")
STEPS = 150
WARM_UP = 5
"""Optimizer steps of the trials that are not counted: they compute the latents."""

_PATIENCE = 0.5
"""Seconds to wait for a message before a worker is asked again."""


@dataclass(frozen=True)
class Measured:
    """Seconds of a trial in all and by phase, and how many pictures and scores it made.

    `processor` are the seconds of all its cores together: other programs change them little.
    """

    total: float
    processor: float
    seconds: Mapping[str, float]
    pictures: int
    scores: int


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--steps", type=int, default=STEPS, help="fewer, to try it; stores nothing")
    options = parser.parse_args(arguments)
    set_environment()  # before a worker is started
    config = load_study(SPACE)
    train = TrainConfig(
        rank=16, batch_size=16, resolution=64, learning_rate=1e-3, empty_prompt=0.0, captions="all"
    )
    with tempfile.TemporaryDirectory() as temporary:
        arms = measured(config, train, Path(temporary), options)
    data = {"command": "python benchmarks/trial.py", "steps": options.steps, **arms}
    text = page({**data, "machine": machine()})
    print(text)
    if options.steps == STEPS:
        write_result("trial", data)
        write_text(RESULTS / "trial.md", text)


def measured(
    config: StudyConfig, train: TrainConfig, root: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Compare the losses, then measure both ways by turns."""
    sets = read_data(config)
    task = task_of(config, train, sets[None], root / "plain", options.steps)
    losses = agreement(task, train, sets[None])
    print(f"losses agree: {losses}", flush=True)
    folder = StudyFolder(root / "study")
    plain, ours = [], []
    with open_session(config, folder, data_hashes(sets)) as session, ExitStack() as stack:
        count = int(str(machine()["cores"]))
        shares = [Share(place, count) for place in range(count)]
        pool = [
            stack.enter_context(closing(Worker(ThisMachine(config, folder, sets), share=share)))
            for share in shares
        ]
        began = time.monotonic()
        for _ in waited(base_scores(pool[0], config, folder, session.store)):
            pass
        for worker in pool:
            for _ in waited(worker.start()):
                pass
        start = time.monotonic() - began
        numbers = iter(range(1_000_000))
        ours_once(pool, train, numbers, WARM_UP)
        for repetition in range(options.repetitions):
            plain.append(plain_once(replace(task, seed=repetition)))
            print(f"plain {plain[-1]}", flush=True)
            ours.append(ours_once(pool, train, numbers, options.steps))
            print(f"ours  {ours[-1]}", flush=True)
    counts = {(each.pictures, each.scores) for each in plain + ours}
    assert len(counts) == 1, f"pictures and scores differ: {counts}"
    arms = {"plain": [asdict(each) for each in plain], "ours": [asdict(each) for each in ours]}
    return {**arms, "workers": count, "start_of_workers": start, "losses": losses}


def task_of(
    config: StudyConfig, train: TrainConfig, data: TrainingSet, folder: Path, steps: int
) -> Task:
    """Return the work of a trial as the plain loop reads it."""
    suite = config.suite
    return Task(
        base=str(mannequin_weights()),
        pictures=[(str(image.path), image.caption) for image in data.images],
        prompts=[asdict(prompt) for prompt in suite.prompts],
        seeds=suite.seeds,
        size=suite.image_size[0],
        solver_steps=suite.steps,
        guidance_scale=suite.guidance_scale,
        train_steps=steps,
        batch_size=train.batch_size,
        rank=train.rank,
        learning_rate=train.learning_rate,
        seed=0,
        folder=str(folder),
    )


def plain_once(task: Task) -> Measured:
    """Run the plain loop in a new process; what is not train, sample or judge is its start."""
    folder = Path(task.folder)
    folder.mkdir(exist_ok=True)
    file = folder / "task.json"
    file.write_text(json.dumps(asdict(task)), encoding="utf-8")
    ours = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GLIBC_TUNABLES")
    plain = {name: value for name, value in os.environ.items() if name not in ours}
    command = [sys.executable, plain_loop.__file__, str(file)]
    began, before = time.monotonic(), processor_seconds()
    subprocess.run(command, env=plain, check=True)
    total, processor = time.monotonic() - began, processor_seconds() - before
    result = json.loads((folder / plain_loop.RESULT).read_text(encoding="utf-8"))
    seconds = {**result["seconds"], "start": total - sum(result["seconds"].values())}
    return Measured(total, processor, seconds, result["pictures"], result["scores"])


def ours_once(pool: Sequence[Worker], train: TrainConfig, numbers: Any, steps: int) -> Measured:
    """Run a trial on each worker at once; return the share of one of them.

    `start` is the rest: what the workers waited for each other.
    """
    done: list[tuple[dict[str, float], int, int]] = []

    def follow(worker: Worker, number: int) -> None:
        done.append(followed(worker, TrialWork(number, train, (steps,))))

    threads = [threading.Thread(target=follow, args=(worker, next(numbers))) for worker in pool]
    began, before = time.monotonic(), processor_seconds()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = len(pool)
    total = (time.monotonic() - began) / count
    processor = (processor_seconds() - before) / count
    assert len(done) == count, "a worker failed"
    names = PHASES[1:]
    shares = {
        name: statistics.fmean(seconds[name] for seconds, _, _ in done) / count for name in names
    }
    seconds = {**shares, "start": total - sum(shares.values())}
    return Measured(total, processor, seconds, *done[0][1:])


def processor_seconds() -> float:
    """Return the processor time of all processes that this one started, ended ones too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return ended.ru_utime + ended.ru_stime + sum(each.user + each.system for each in running)


def followed(worker: Worker, work: TrialWork) -> tuple[dict[str, float], int, int]:
    """Do one trial; return its seconds by phase, and the numbers of its pictures and scores."""
    seconds = dict.fromkeys(("train", "sample", "score"), 0.0)
    since = time.monotonic()
    phase, pictures, scores = "train", 0, 0
    for outcome in waited(worker.do(work)):
        now = time.monotonic()
        if isinstance(outcome, Phase):
            seconds[phase] += now - since
            phase, since = outcome.name, now
        elif isinstance(outcome, Rung):
            pictures = len(outcome.scored)
            scores = sum(len(each.scores) for each in outcome.scored)
    seconds[phase] += time.monotonic() - since
    seconds["judge"] = seconds.pop("score")
    return seconds, pictures, scores


def waited(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Yield a worker's outcomes; wait for the next message where there is none yet."""
    for outcome in outcomes:
        if not isinstance(outcome, Idle):
            yield outcome
        elif outcome.ready is not None:
            outcome.ready.poll(_PATIENCE)


def page(data: Mapping[str, Any]) -> str:
    """Return the result file in Markdown: seconds by phase, means with the range in brackets."""
    plain, ours = data["plain"], data["ours"]
    here, trial = data["machine"], f"{data['steps']} steps, {plain[0]['pictures']} samples"
    lines = [
        "# A trial, against a plain loop",
        "",
        f"Made by `{data['command']}` on {here['cpu']}, {here['cores']} cores: {trial}, "
        f"{plain[0]['scores']} scores; {len(plain)} repetitions by turns, mean [least, most].",
        "",
        "| phase | plain loop, s | ours, s | plain / ours |",
        "|---|---|---|---|",
    ]
    for phase in PHASES:
        theirs, own = ([each["seconds"][phase] for each in arm] for arm in (plain, ours))
        factor = "" if phase == "start" else _range(ratios(theirs, own))
        name = f"{phase} (ours: waiting for each other)" if phase == "start" else phase
        lines.append(f"| {name} | {_range(theirs)} | {_range(own)} | {factor} |")
    for name, key in (("**all**", "total"), ("all cores' time", "processor")):
        theirs, own = ([each[key] for each in arm] for arm in (plain, ours))
        factor = _range(ratios(theirs, own))
        lines.append(f"| {name} | {_range(theirs)} | {_range(own)} | {factor} |")
    start = data["start_of_workers"]
    spread = statistics.fmean(each["total"] for each in plain) / (
        statistics.fmean(each["total"] for each in ours) + start / DEMO_TRIALS
    )
    agreed = ", ".join(f"{value:.1e} in {name}" for name, value in data["losses"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"Ours: a trial's share of {data['workers']} workers that were started before, which "
            f"takes {start:.0f} s once a study, the base's samples included; spread over the "
            f"demo's {DEMO_TRIALS} trials it makes the ratio {spread:.1f}. "
            f"Losses of {STEPS_COMPARED} steps on the same batches differ by at most (relative): "
            f"{agreed}.",
            "",
        ]
    )


def ratios(plain: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Return plain / ours of each repetition: both arms of it ran one after the other."""
    return [theirs / own for theirs, own in zip(plain, ours, strict=True)]


def _range(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.1f} [{min(values):.1f}, {max(values):.1f}]"


if __name__ == "__main__":
    main()
