"""Lose an actor, a node, the driver's connection or the controller of a study on a Ray cluster.

    python benchmarks/ray_faults.py [--seed 0] [--moments 12]

Starts a cluster of a head and three nodes on this machine, with object stores and cache folders of
their own and no shared study folder, and runs a small study of the mannequin with `tuner run --ray`
once for each moment: in the train, sample or score phase of a trial, somewhat later, something is
killed. A run that ends is started again. Then the study is compared with the same study run on this
machine without Ray: each trial's parameters, the objectives of its rungs, every score of its
pictures. The table goes to benchmarks/results/ray_faults.md and .json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.tuner.worker.nodes import Nodes, three_nodes  # noqa: E402 - from a checkout
from tuner.storage import Store, StudyFolder  # noqa: E402

RESULT = HERE / "results" / "ray_faults"
KINDS = ("actor", "node", "connection", "controller")
PHASES = ("train", "sample", "score")
TRIALS = 2
SPACE = f"""
study: faults
base: mannequin
data: mannequin:few
budget: {{trials: {TRIALS}, rungs: [2, 4]}}
objectives: [pose, quality]
suite:
  prompts: [{{text: "1girl, solo, full body", sex: female}}, {{text: "1boy, solo", sex: male}}]
  seeds: 1
  size: 64
  steps: 4
sampler: random
train:
  rank: {{choices: [1, 2, 4]}}
  learning_rate: {{low: 1.0e-4, high: 1.0e-2}}
  batch_size: 2
  seed: 7
"""
"""With a fixed seed a training depends on its parameters only, whatever its trial's number is."""


@dataclass(frozen=True)
class Moment:
    """What is killed, in which phase of a trial, in which such phase, and how much later."""

    kind: str
    phase: str
    place: int
    delay: float


@dataclass
class Outcome:
    """What a moment cost: runs, retries, interrupted trials; and what is wrong after it."""

    moment: Moment
    seconds: float = 0.0
    runs: int = 1
    retried: int = 0
    interrupted: int = 0
    lost: int = 0
    doubled: int = 0
    left: int = 0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moments", type=int, default=12)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"  # so that sums are the same on every node
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        space = root / "faults.yaml"
        space.write_text(SPACE)
        for _ in command(space, root / "alone", None, Run()):
            pass
        alone = found(StudyFolder(root / "alone" / "faults"))
        outcomes = []
        with three_nodes(root) as nodes:
            for number, moment in enumerate(moments(options.seed, options.moments)):
                outcomes.append(faulted(moment, space, root / str(number), nodes, alone))
                print(json.dumps(asdict(outcomes[-1])), flush=True)
                write(outcomes, options)


def moments(seed: int, count: int) -> list[Moment]:
    """The moments of a seed: every kind equally often, in random order."""
    random = np.random.default_rng(seed)
    kinds = random.permutation([KINDS[number % len(KINDS)] for number in range(count)])
    return [
        Moment(
            str(kind),
            str(random.choice(PHASES)),
            int(random.integers(1, 4)),
            round(float(random.uniform(0, 0.5)), 2),
        )
        for kind in kinds
    ]


@dataclass
class Run:
    """A running `tuner run`."""

    process: subprocess.Popen[str] | None = None


def command(space: Path, studies: Path, address: str | None, run: Run) -> Iterator[dict[str, Any]]:
    """Run the study and yield its events; the end has the exit code."""
    line = [sys.executable, "-m", "tuner", "run", str(space), "--studies", str(studies)]
    line += ["--workers", "2", "--json", *(["--ray", address] if address else [])]
    run.process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE.parent
    )
    assert run.process.stdout is not None
    for text in run.process.stdout:
        with contextlib.suppress(ValueError):  # a line that was being written when it was killed
            yield json.loads(text)
    _, errors = run.process.communicate()
    yield {"event": "exit", "code": run.process.returncode, "errors": errors}


def faulted(
    moment: Moment, space: Path, studies: Path, nodes: Nodes, alone: dict[str, str]
) -> Outcome:
    """Run a study with a fault, again and again until it is complete, and compare it."""
    outcome, run, began = Outcome(moment), Run(), time.monotonic()
    waits = moment.place
    address = nodes.client_address if moment.kind == "connection" else nodes.address
    while True:
        code = None
        for event in command(space, studies, address, run):
            outcome.retried += event["event"] == "retried"
            code = event.get("code")
            if event["event"] != "phase" or event["trial"] is None or event["name"] != moment.phase:
                continue
            waits -= 1
            if waits == 0:
                time.sleep(moment.delay)
                lose(moment.kind, run, nodes)
        if code == 0:
            break
        outcome.runs += 1
        if outcome.runs > 3:
            raise SystemExit(f"{moment}: the study does not end: {event}")
    outcome.seconds = round(time.monotonic() - began, 1)
    compare(outcome, StudyFolder(studies / "faults"), nodes, alone)
    assert waits <= 0, "the study was over before the moment"
    return outcome


def lose(kind: str, run: Run, nodes: Nodes) -> None:
    """Kill an actor, a node, the connection or the controller."""
    assert run.process is not None
    match kind:
        case "actor":
            nodes.relays()[0].kill()
        case "node":
            nodes.remove(nodes.busy())
            nodes.add()
        case "connection":
            (server,) = nodes.client_servers()
            server.kill()
        case "controller":
            run.process.kill()


def compare(outcome: Outcome, folder: StudyFolder, nodes: Nodes, alone: dict[str, str]) -> None:
    """Note what is lost, doubled or left in comparison with the study without Ray."""
    with Store(folder.results_db, read_only=True) as store:
        states = [row.state for row in store.trials()]
    there = found(folder)
    outcome.interrupted = states.count("interrupted")
    outcome.lost = sum(there.get(key) != value for key, value in alone.items())
    outcome.doubled = states.count("complete") - len(alone)
    if not nodes.all_end(30):
        outcome.left += len(nodes.relays() + nodes.workers())
    outcome.left += len(list(folder.root.rglob(".*.tmp*")))


def found(folder: StudyFolder) -> dict[str, str]:
    """What each complete trial found, by its parameters; a file that is not there is an error."""
    trials = {}
    with Store(folder.results_db, read_only=True) as store:
        for row in store.trials():
            if row.state != "complete":
                continue
            values: list[object] = []
            for rung in store.rungs(row.number):
                samples = store.samples(row.number, rung.step)
                files = [rung.lora, rung.grid, *(sample.path for sample in samples)]
                assert all(file is not None and file.is_file() for file in files)
                values += [rung.step, sorted(map(str, rung.objectives.values()))]
                values += [[str(sorted(map(str, s.scores.values()))) for s in samples]]
            trials[str(sorted(row.parameters.items()))] = str(values)
    return trials


def write(outcomes: Sequence[Outcome], options: argparse.Namespace) -> None:
    """Write the table and the numbers."""
    rows = [
        f"| {n} | {o.moment.kind} | {o.moment.phase} {o.moment.place} + {o.moment.delay:.2f} s | "
        f"{o.runs} | {o.retried} | {o.interrupted} | {o.lost} | {o.doubled} | {o.left} | "
        f"{o.seconds:.0f} |"
        for n, o in enumerate(outcomes, 1)
    ]
    bad = sum(o.lost + o.doubled + o.left for o in outcomes)
    import ray

    text = f"""# What a study on a Ray cluster loses when something dies

Made by `python benchmarks/ray_faults.py --seed {options.seed}`: a study of {TRIALS} trials with two
rungs on the mannequin, on a head and three nodes with caches of their own, Ray {ray.__version__},
Python {platform.python_version()}, {os.cpu_count()} cores. Each line is a study in which something
was killed; the connection is that of a `ray://` address. Compared with the same study on this
machine without Ray, in all scores of all pictures: {bad} things lost, doubled or left running.

| | killed | moment | runs | retried | trials interrupted | lost | doubled | left | s |
|---|---|---|---|---|---|---|---|---|---|
"""
    options.result.parent.mkdir(exist_ok=True)
    options.result.with_suffix(".md").write_text(text + "\n".join(rows) + "\n")
    numbers = {"seed": options.seed, "moments": [asdict(outcome) for outcome in outcomes]}
    options.result.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
