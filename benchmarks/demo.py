"""Run README's demo with several seeds: how long it takes, and what it shows at its end.

    python benchmarks/demo.py [SEED...] [--studies studies/demo]

Each is `tuner run search_spaces/pose.yaml --seed SEED` (0 is the space's own, 0 to 4 the default),
timed on the clock from start to end; nothing else should run beside them. Named are the seconds to
the first grid of scored samples, which is the base's, and to the first of a trial; the most memory
that one of its processes, a worker, had (seen four times a second); and the trial that the study
names, with its gain over the base on fresh noise as the command prints it. A study's folder is
removed before its run. With SEEDs only these are run, the others keep their rows. The
table goes to benchmarks/results/demo.md and .json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from machine import RESULTS, write_result

from tuner.storage.files import write_text

ROOT = Path(__file__).parent.parent
SPACE = "search_spaces/pose.yaml"
SEEDS = range(5)
_LOOK_SECONDS = 0.25
_BY_OBJECTIVE = "objective by objective: "

INTRODUCTION = f"""\
# The demo with several seeds

Made by `python benchmarks/demo.py`; the machine is in demo.json. Seconds on the clock of
`tuner run {SPACE} --seed SEED` (0 is the space's own), environment and weights installed
before, and those after which the first grids of scored samples were there. GB: the most memory that
one process, a worker, had. The trial that a study names, on fresh samples of both, minus the base,
paired by prompt and noise; 95 % intervals, each by itself, as the command prints them.
"""


@dataclass(frozen=True)
class Demo:
    """One run: seconds to its end and to the first grids, and what it says at its end.

    `worker_bytes` is the most memory that one of its children had, seen four times a second.
    `trial` is the one that the study names, None where it names none; `gain` is that of its
    strength, with its interval.
    """

    seconds: float
    base_grid: float
    trial_grid: float
    worker_bytes: int
    trial: int | None
    captions: str
    gain: tuple[float, float, float] | None
    objectives: str


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seeds", nargs="*", type=int, metavar="SEED", default=list(SEEDS))
    parser.add_argument("--studies", type=Path, default=ROOT / "studies" / "demo")
    options = parser.parse_args(arguments)
    rows = read_rows(RESULTS / "demo.json")
    for seed in options.seeds:
        rows[seed] = measured(seed, options.studies.absolute() / str(seed))
        print(line(seed, rows[seed]), flush=True)
        write_text(RESULTS / "demo.md", page(rows))
        write_result("demo", {"seeds": {str(key): asdict(row) for key, row in rows.items()}})


def measured(seed: int, studies: Path) -> Demo:
    """Return the row of a run of its own, in a new folder `studies`."""
    if studies.exists():
        shutil.rmtree(studies)
    run = command("run", SPACE, "--seed", str(seed), "--studies", str(studies))
    begin = time.monotonic()
    grids: dict[str, float] = {}
    memory = 0
    with subprocess.Popen(run, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for kind, place in (("base", "*/base/grid.png"), ("trial", "*/trials/*/*/grid.png")):
                if kind not in grids and any(studies.glob(place)):
                    grids[kind] = time.monotonic() - begin
            memory = max(memory, largest_child(process.pid))
            time.sleep(_LOOK_SECONDS)
        seconds = time.monotonic() - begin
    if process.returncode:
        raise SystemExit(f"seed {seed}: `tuner run` ended with {process.returncode}")
    (study,) = (path.parent.name for path in studies.glob("*/study.yaml"))
    status = subprocess.run(
        command("status", study, "--studies", str(studies), "--json"),
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    shown = named(json.loads(status.stdout))
    return Demo(seconds, grids["base"], grids["trial"], memory, *shown)


def largest_child(process: int) -> int:
    """Return the bytes of memory that the largest of the children of `process` has now."""
    sizes = [0]
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                sizes.append(child.memory_info().rss)
    return max(sizes)


def named(
    status: Mapping[str, Any],
) -> tuple[int | None, str, tuple[float, float, float] | None, str]:
    """Return the trial that a study names, its captions, its gain and that of each objective."""
    confirmed = status["confirmation"]
    if confirmed["winner"] is None:
        return None, "", None, "; ".join(confirmed["reasons"])
    number = confirmed["winner"]["trial"]
    (trial,) = (each for each in status["trials"] if each["number"] == number)
    reasons = (each for each in confirmed["reasons"] if each.startswith(_BY_OBJECTIVE))
    gain = confirmed["gain"]
    interval = (gain["value"], gain["low"], gain["high"])
    objectives = next(reasons).removeprefix(_BY_OBJECTIVE)
    return number, str(trial["parameters"]["captions"]), interval, objectives


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tuner", *arguments]


def read_rows(path: Path) -> dict[int, Demo]:
    """Return the rows of earlier calls by seed."""
    if not path.is_file():
        return {}
    known = json.loads(path.read_text(encoding="utf-8"))["seeds"]
    return {int(seed): Demo(**row) for seed, row in known.items()}


def page(rows: Mapping[int, Demo]) -> str:
    """Return the table in Markdown."""
    head = ["seed", "seconds", "base's grid", "a trial's grid", "GB"]
    head += ["trial", "captions", "strength", "objectives"]
    table = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    table += [line(seed, row) for seed, row in sorted(rows.items())]
    return "\n".join([INTRODUCTION, *table, ""])


def line(seed: int, row: Demo) -> str:
    """Return a row of the table."""
    gain = "" if row.gain is None else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*row.gain)
    return (
        f"| {seed} | {row.seconds:.0f} | {row.base_grid:.0f} | {row.trial_grid:.0f} | "
        f"{row.worker_bytes / 1e9:.2f} | "
        f"{row.trial} | {row.captions} | {gain} | {row.objectives} |"
    )


if __name__ == "__main__":
    main()
