"""Measure which sampler finds good settings for the least cost, on a surrogate of measured trials.

    python benchmarks/search.py table STUDY_FOLDER
    python benchmarks/search.py replay [--seeds 50] [--minutes 25]

`table` writes the trials of a random study whose trials all reach their last rung (recorded by
`tuner run benchmarks/search.yaml`) to benchmarks/results/search_table.jsonl. `replay` fits a
surrogate to them and replays studies on it: parameters come from the samplers of `tuner`, trials
are stopped by its rules. A method sees noisy measures; it is judged by those without noise of the
trials that reached the last rung. Its cost is counted in full trials: what a trial takes on
average, on the machine of the table, that is judged at its last rung only. Methods without rungs
pay for no judging below it; a stopped trial costs only its first rung.

Replays go to studies/search_replay, and a later call continues there: seed by seed over all
methods, until --seeds or --minutes are reached. Samplers that take seconds a trial (Gaussian
processes) have --slow-seeds. The report goes to benchmarks/results/search.md, .json and .png.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import optuna
from machine import RESULTS, write_result
from search_methods import ARMS, KNOWN, VARIANTS, Arm, Method, Telling, telling
from search_plot import draw
from search_replay import Run, Scale, measure_scale, replay
from search_report import LONG, Replays, page, summary
from search_surrogate import Surrogate
from search_table import extract, read_table, write_table

from tuner.space import StudyConfig, load_study
from tuner.storage import StudyFolder
from tuner.storage.files import write_text

HERE = Path(__file__).parent
ROOT = HERE.parent
TABLE = RESULTS / "search_table.jsonl"
TRIALS = (12, 24, 60)
"""Budgets of the replayed studies, in full trials: a sampler's random phase grows with them."""
POINTS = 5000
"""Random points of the surrogate that make the best known front."""
REFERENCE = 0.1
"""Quantile of the table, for each objective, that is the reference point of hypervolumes."""

Task = tuple[Method, int]
"""A method, and how many full trials it may spend."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("table", help="write the table of a study")
    table.add_argument("study", type=Path)
    again = commands.add_parser("replay", help="replay methods on a surrogate of the table")
    again.add_argument("--seeds", type=int, default=50)
    again.add_argument("--slow-seeds", type=int, default=5)
    again.add_argument("--minutes", type=float, default=25.0, help="then report what there is")
    again.add_argument("--space", type=Path, default=HERE / "search.yaml")
    again.add_argument("--recipes", type=Path, default=ROOT / "search_spaces" / "pose.yaml")
    again.add_argument("--studies", type=Path, default=ROOT / "studies" / "search_replay")
    again.add_argument("--only", nargs="+", metavar="SAMPLER", help="replay only these samplers")
    again.add_argument("--arms", nargs="+", choices=ARMS, help="replay only what is told so much")
    again.add_argument("--points", type=int, default=POINTS)
    for command in (table, again):
        command.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args(arguments)
    if options.command == "table":
        rows, words = extract(StudyFolder(options.study))
        write_table(rows, options.table)
        print(f"{options.table.name}: {words}")
    else:
        replays(options)


def replays(options: argparse.Namespace) -> None:
    """Replay what is missing, and write the report."""
    warnings.simplefilter("ignore")  # experimental samplers, and kernels at the end of their ranges
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = read_table(options.table)
    steps = [rung.step for rung in rows[-1].rungs]
    config = load_study(options.space, set_values=[f"budget.rungs={steps}"])
    surrogate = Surrogate(config, rows)
    scale, told = measured_scale(surrogate, config, options)
    cache = options.studies / f"{cache_key(options.table, repr((config, scale, told)))}.jsonl"
    cache.parent.mkdir(parents=True, exist_ok=True)
    known = read_runs(cache)
    if cache.is_file() and not cache.read_bytes().endswith(b"\n"):
        with cache.open("a", encoding="utf-8") as file:
            file.write("\n")  # an earlier call was killed while it wrote
    end = time.monotonic() + 60 * options.minutes
    for seed, (method, trials) in schedule(options):
        if time.monotonic() > end:
            print(f"after {options.minutes:g} minutes: the rest is left to another call")
            break
        if (method, trials, seed) in known:
            continue
        run = replay(surrogate, scale, method, told, seed, trials)
        known[method, trials, seed] = run
        line = {"method": asdict(method), "trials": trials, "seed": seed, "run": asdict(run)}
        with cache.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    whole = Replays(known, surrogate, scale, told)
    text = page(whole)
    write_text(RESULTS / "search.md", text)
    write_result("search", summary(whole))
    draw(whole, RESULTS / "search.png")
    print(text)


def measured_scale(
    surrogate: Surrogate, config: StudyConfig, options: argparse.Namespace
) -> tuple[Scale, Telling]:
    """Return the scale of the table, and what methods can be told of its space."""
    scale, best = measure_scale(surrogate, options.points, REFERENCE)
    starts = load_study(options.recipes).start_from
    return scale, telling(config, starts, best)


def schedule(options: argparse.Namespace) -> Iterator[tuple[int, Task]]:
    """Yield each seed with each method and budget: all methods of a seed before the next seed."""
    for seed in range(options.seeds):
        for method in methods():
            if options.only and method.sampler not in options.only:
                continue
            if options.arms and method.arm not in options.arms:
                continue
            if method.slow and seed >= options.slow_seeds:
                continue
            for trials in TRIALS:
                yield seed, (method, trials)
            if method == Method("random"):
                yield seed, (method, LONG)


def methods() -> list[Method]:
    """Return the methods that are compared, the slow ones last.

    The samplers of `tuner` in every arm, except that a grid takes no priors and no recipes between
    its points, and that the slow one with rungs is only plain and misled, as variants are.
    """
    both: tuple[Arm, ...] = ("plain", "wrong prior")
    known = [Method(name, rungs, arm) for name, rungs in KNOWN for arm in ARMS]
    known += [
        Method(name, rungs, arm) for name in VARIANTS for rungs in (False, True) for arm in both
    ]
    told = {method: ARMS for method in known}
    told |= {method: both for method in known if method.slow and method.rungs}
    told |= {method: ("plain",) for method in known if method.sampler == "grid"}
    kept = [method for method in known if method.arm in told[method]]
    return sorted(kept, key=lambda method: method.slow)


def cache_key(table: Path, settings: str) -> str:
    """Return a name for replays of this table by this code: those of others are not mixed in.

    `settings` are the space, the scale and what methods are told, as text.
    """
    code = [
        HERE / f"search_{name}.py" for name in ("hub", "methods", "process", "replay", "surrogate")
    ]
    study = ROOT / "tuner" / "study"
    code += [study / f"{name}.py" for name in ("samplers", "stopping", "optuna_study")]
    code += [study / "memory" / "scalar.py", ROOT / "tuner" / "results" / "course.py"]
    whole = b"".join(path.read_bytes() for path in [table, *code])
    return hashlib.sha256(whole + f"{settings} {optuna.__version__}".encode()).hexdigest()[:12]


def read_runs(cache: Path) -> dict[tuple[Method, int, int], Run]:
    """Return the replays that are there already; a line that was cut off is left out."""
    known = {}
    for line in cache.read_text(encoding="utf-8").splitlines() if cache.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        lists = {name: tuple(each) for name, each in row["run"].items() if name != "by_model"}
        run = Run(**lists, by_model=row["run"]["by_model"])
        known[Method(**row["method"]), row["trials"], row["seed"]] = run
    return known


if __name__ == "__main__":
    main()
