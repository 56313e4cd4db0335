"""Measure what rungs save and what they cost: the same trials with and without stopping.

    python benchmarks/rungs.py [SPACE] [--trials 16] [--seeds 0 1 2] [--keep 0.25] [--only on]

Runs two studies for each seed, `off-SEED` with `budget.keep: 1` and `on-SEED`, below --studies.
Finished studies there are reused, and a stopped run goes on. On a machine with other work, run
`--only on` and `--only off` at the same time and then the command without either, to get comparable
seconds. Both arms have the same rungs and noise seeds, so that `off` shows how well the lower rungs
predict the last one.
Seconds are those of training, sampling and scoring of the trials in results.db, without the base
and without interrupted trials that were repeated; steps and samples are counted the same way. The
columns `last` of `off` leave out the cost of its low rungs, as if it had only the last one.

The front of many noisy trials looks larger than that of few, and `off` has more full trials.
Therefore the fronts are compared by what a user takes from them: the --confirm strongest of each
study, sampled on 104 fresh noises as `tuner confirm` does, the same number in both arms. Beside it
are the hypervolume of the trials as measured by the study itself, and that of `off` at the moment
when it had cost, with only the last rung, as much as `on`: the result of fewer trials in the same
time. The table goes to benchmarks/results/rungs.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from metrics.contract import Objective
from tuner.cli.live import View, recall, show
from tuner.results import read_confirmation, read_results
from tuner.results.course import agreements, hypervolumes, rung_lines
from tuner.results.results import Results, front
from tuner.space import StudyConfig, load_study
from tuner.storage import Store, StudyFolder
from tuner.storage.files import write_text
from tuner.study import run_confirm, run_study
from tuner.study.confirm import ConfirmOptions, NothingToConfirmError

HERE = Path(__file__).parent
SPACE = HERE.parent / "search_spaces" / "look.yaml"
RESULT = HERE / "results" / "rungs.md"
WORK = ("train", "sample", "score")


@dataclass(frozen=True)
class Arm:
    """Cost and result of the trials of one study.

    `last_alone` is `seconds` without the low rungs. `front` counts the trials of the front.
    `hypervolume` is that of the report, as measured by the study, `fresh` that of the confirmed
    candidates on fresh noise.
    """

    trials: int
    complete: int
    stopped: int
    seconds: float
    last_alone: float
    steps: int
    samples: int
    front: int
    hypervolume: float
    fresh: float


@dataclass(frozen=True)
class Pair:
    """Both arms of a seed. `same_cost` is the hypervolume of `off` for the seconds of `on`."""

    seed: int
    off: Arm
    on: Arm
    same_cost: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("space", nargs="?", type=Path, default=SPACE)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rungs", type=int, nargs="+", default=[50, 300])
    parser.add_argument("--keep", type=float, default=0.25)
    parser.add_argument("--low-rung-seeds", type=int, default=1)
    parser.add_argument(
        "--confirm", type=int, default=3, help="number of strongest trials of each study"
    )
    parser.add_argument("--only", choices=("on", "off"), help="run this arm without a report")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--studies", type=Path, default=HERE.parent / "studies" / "rungs")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    rungs = [f"budget.rungs={options.rungs}", f"budget.low_rung_seeds={options.low_rung_seeds}"]
    kept = {"off": "budget.keep=1", "on": f"budget.keep={options.keep}"}
    pairs, offs = [], []
    for seed in options.seeds:
        arms = {}
        for name, keep in kept.items():
            wanted = [*options.settings, *rungs, keep, f"study={name}-{seed}"]
            config = load_study(options.space, trials=options.trials, seed=seed, set_values=wanted)
            folder = StudyFolder(options.studies / config.study)
            if options.only in (name, None):
                run(config, folder, options.confirm)
            if options.only is None:
                arms[name] = measured(folder)
                offs += [read_results(folder)] if name == "off" else []
        if arms:
            same_cost = volume_for(StudyFolder(options.studies / f"off-{seed}"), arms["on"].seconds)
            pairs.append(Pair(seed, arms["off"], arms["on"], same_cost))
    if options.only is not None:
        return
    text = page(pairs, offs, command(options))
    write_text(options.result, text)
    print(text)


def command(options: argparse.Namespace) -> str:
    """Return the command that repeats this measurement."""
    space = Path(os.path.relpath(options.space, HERE.parent)).as_posix()
    words = ["python", "benchmarks/rungs.py", space, "--trials", options.trials]
    words += ["--seeds", *options.seeds, "--rungs", *options.rungs, "--keep", options.keep]
    words += ["--low-rung-seeds", options.low_rung_seeds, "--confirm", options.confirm]
    words += [word for setting in options.settings for word in ("--set", setting)]
    return shlex.join(map(str, words))


def run(config: StudyConfig, folder: StudyFolder, confirm: int) -> None:
    """Run and confirm the study; finished parts are reused."""
    view = View(config.study, config.budget.trials, config.objectives)
    if folder.exists():
        recall(view, read_results(folder))
    with contextlib.closing(run_study(config, folder)) as events:  # type: ignore[type-var]
        show(view, events, plain=True)
    confirmation = run_confirm(folder, ConfirmOptions(trials=confirm, repeats=0))
    # A study without a trial to confirm has no result for its user: a hypervolume of 0.
    with contextlib.suppress(NothingToConfirmError), contextlib.closing(confirmation) as events:  # type: ignore[type-var]
        show(view, events, plain=True)


def measured(folder: StudyFolder) -> Arm:
    """Return the cost and the result of a study."""
    results = read_results(folder)
    trials = [trial for trial in results.trials if trial.state != "interrupted"]
    with Store(folder.results_db, read_only=True) as store:
        phases = [work_phases(store, trial.number) for trial in trials]
        rungs = [store.rungs(trial.number) for trial in trials]
        samples = [len(store.samples(rung.trial, rung.step)) for rows in rungs for rung in rows]
    ends = [scored.rung.objectives for scored in results.scored if scored.trial.state == "complete"]
    confirmation = read_confirmation(folder, results)
    confirmed = confirmation.ranking.ranked if confirmation and confirmation.ranking else ()
    return Arm(
        trials=results.finished,
        complete=len(ends),
        stopped=sum(trial.state == "stopped" for trial in trials),
        seconds=sum(seconds for rows in phases for _, seconds in rows),
        last_alone=sum(map(without_low_rungs, phases)),
        steps=sum(rows[-1].step for rows in rungs if rows),
        samples=sum(samples),
        front=len(front(results)),
        hypervolume=volume(ends, results),
        fresh=volume([candidate.objectives for candidate in confirmed], results),
    )


def work_phases(store: Store, trial: int) -> list[tuple[str, float]]:
    """Return the phases of training, sampling and scoring of a trial, with their seconds."""
    return [(name, seconds) for name, seconds in store.phases(trial) if name in WORK]


def volume(points: Sequence[Mapping[str, Objective]], results: Results) -> float:
    """Return the share of the unit cube that the points dominate; 0 without points."""
    names = results.study.objectives
    volumes = hypervolumes([[point[name].value for name in names] for point in points])
    return volumes[-1] if volumes else 0.0


def volume_for(folder: StudyFolder, seconds: float) -> float:
    """Return the hypervolume of the first trials that take `seconds` with only the last rung."""
    results, spent = read_results(folder), 0.0
    points = {scored.trial.number: scored.rung.objectives for scored in results.scored}
    reached = []
    with Store(folder.results_db, read_only=True) as store:
        for trial in results.trials:
            phases = work_phases(store, trial.number)
            spent += without_low_rungs(phases) if trial.state != "interrupted" else 0
            if spent <= seconds and trial.state == "complete":
                reached.append(points[trial.number])
    return volume(reached, results)


def without_low_rungs(phases: Sequence[tuple[str, float]]) -> float:
    """Return the seconds of a trial without sampling and scoring before the end of training."""
    last = max((place for place, (name, _) in enumerate(phases) if name == "train"), default=0)
    return sum(
        seconds for place, (name, seconds) in enumerate(phases) if name == "train" or place > last
    )


def page(pairs: Sequence[Pair], offs: Sequence[Results], again: str) -> str:
    """Return the table in Markdown; `again` is the command that made it."""
    lines = [
        "# Rungs on and off",
        "",
        f"Made by `{again}`; as many trials in both arms.",
        "",
        "| seed | trials | stopped | off, s | off, last rung alone, s | on, s | on / off "
        "| on / last alone | steps on / off | samples on / off | front off | on "
        "| hypervolume off | on | off for the seconds of on | confirmed off | on |",
        "|" + "---|" * 17,
    ]
    for pair in pairs:
        off, on = pair.off, pair.on
        cells = [str(pair.seed), f"{on.trials} and {off.trials}", str(on.stopped)]
        cells += [f"{off.seconds:.0f}", f"{off.last_alone:.0f}", f"{on.seconds:.0f}"]
        cells += [ratio(on.seconds, off.seconds), ratio(on.seconds, off.last_alone)]
        cells += [ratio(on.steps, off.steps), ratio(on.samples, off.samples)]
        cells += [str(off.front), str(on.front)]
        cells += [f"{off.hypervolume:.3f}", f"{on.hypervolume:.3f}", f"{pair.same_cost:.3f}"]
        cells += [f"{off.fresh:.3f}", f"{on.fresh:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        cost_line(pairs),
        "",
        gain_line(pairs),
        "",
        "In the studies without stopping:",
        "",
    ]
    for results in offs:
        agreed = agreements(results.trials, results.rungs, results.study.objectives)
        lines += [f"- {results.study.name}: {line}" for line in rung_lines(agreed)]
    return "\n".join(lines) + "\n"


def cost_line(pairs: Sequence[Pair]) -> str:
    """Return a sentence on the time that stopping saves, over all seeds."""
    on = sum(pair.on.seconds for pair in pairs)
    off = sum(pair.off.seconds for pair in pairs)
    alone = sum(pair.off.last_alone for pair in pairs)
    word = "at most half" if 2 * on <= off else "more than half"
    return (
        f"With stopping the trials took {ratio(on, off)} of the time without, {word}, and "
        f"{ratio(on, alone)} of the time of trials with only the last rung."
    )


def gain_line(pairs: Sequence[Pair]) -> str:
    """Return a sentence on the effect of stopping on the confirmed trials, on fresh noise."""
    gaps = [pair.on.fresh - pair.off.fresh for pair in pairs]
    mean = statistics.fmean(gaps)
    text = f"Hypervolume of the confirmed, on minus off: {mean:+.3f}"
    if len(gaps) < 2:
        return f"{text}; one seed shows nothing of its spread."
    half = float(stats.t.ppf(0.975, len(gaps) - 1)) * statistics.stdev(gaps) / len(gaps) ** 0.5
    word = "worse" if mean + half < 0 else "better" if mean - half > 0 else "no difference shown"
    return f"{text} [{mean - half:+.3f}, {mean + half:+.3f}] over {len(gaps)} seeds: {word}."


def ratio(part: float, whole: float) -> str:
    return f"{part / whole:.2f}" if whole else "-"


if __name__ == "__main__":
    main()
