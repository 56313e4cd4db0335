"""What do rungs save, and what do they cost? The same trials with the poor ones stopped or not.

    python benchmarks/rungs.py [SPACE] [--trials 16] [--seeds 0 1 2] [--keep 0.25] [--only on]

Runs two studies for each seed, `off-SEED` with `budget.keep: 1` and `on-SEED`, below --studies;
what is finished there is kept, and a run that was stopped goes on. On a machine that does other
work too, `--only on` and `--only off` at the same time, and then the command without either, give
seconds that can be compared. The same rungs and noise seeds in both arms, so that `off` tells how
well what `on` decides by foretells the last rung.
Seconds are those of training, sampling and scoring of the trials in results.db, without the base's
and without trials that were interrupted and done again; steps and samples are counted alike. The
columns `last` of `off` leave out what its low rungs cost, as if it had the last alone.

The front of many noisy trials looks larger than that of few, and off has the more. So the fronts
are compared by what a user would take from them: the --confirm strongest of each study, sampled on
104 fresh noises as `tuner confirm` does, the same number in both arms. The hypervolume of the
trials as measured by the study itself is told beside it, and that of `off` when it had cost, with
the last rung alone, as much as `on`: what fewer trials would have given for the same seconds. The
table goes to benchmarks/results/rungs.md.
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
    """One study: what its trials cost, `last_alone` without their low rungs, and what they gave.

    `front` counts the trials of the front. `hypervolume` is the report's, as measured by the study,
    `fresh` that of the confirmed candidates on fresh noise.
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
    """Both arms of a seed; `same_cost` is the hypervolume of off when it had cost as much as on."""

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
    parser.add_argument("--confirm", type=int, default=3, help="so many of each study's strongest")
    parser.add_argument("--only", choices=("on", "off"), help="run this arm, and tell nothing")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--studies", type=Path, default=HERE.parent / "studies" / "rungs")
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args(arguments)
    rungs = [f"budget.rungs={asked.rungs}", f"budget.low_rung_seeds={asked.low_rung_seeds}"]
    kept = {"off": "budget.keep=1", "on": f"budget.keep={asked.keep}"}
    pairs, offs = [], []
    for seed in asked.seeds:
        arms = {}
        for name, keep in kept.items():
            wanted = [*asked.settings, *rungs, keep, f"study={name}-{seed}"]
            config = load_study(asked.space, trials=asked.trials, seed=seed, set_values=wanted)
            folder = StudyFolder(asked.studies / config.study)
            if asked.only in (name, None):
                run(config, folder, asked.confirm)
            if asked.only is None:
                arms[name] = measured(folder)
                offs += [read_results(folder)] if name == "off" else []
        if arms:
            same_cost = volume_for(StudyFolder(asked.studies / f"off-{seed}"), arms["on"].seconds)
            pairs.append(Pair(seed, arms["off"], arms["on"], same_cost))
    if asked.only is not None:
        return
    text = page(pairs, offs, command(asked))
    write_text(asked.result, text)
    print(text)


def command(asked: argparse.Namespace) -> str:
    """The command that measures this again."""
    space = Path(os.path.relpath(asked.space, HERE.parent)).as_posix()
    words = ["python", "benchmarks/rungs.py", space, "--trials", asked.trials]
    words += ["--seeds", *asked.seeds, "--rungs", *asked.rungs, "--keep", asked.keep]
    words += ["--low-rung-seeds", asked.low_rung_seeds, "--confirm", asked.confirm]
    words += [word for setting in asked.settings for word in ("--set", setting)]
    return shlex.join(map(str, words))


def run(config: StudyConfig, folder: StudyFolder, confirm: int) -> None:
    """Run and confirm the study; what is there already is only taken up."""
    view = View(config.study, config.budget.trials, config.objectives)
    if folder.exists():
        recall(view, read_results(folder))
    with contextlib.closing(run_study(config, folder)) as events:  # type: ignore[type-var]
        show(view, events, plain=True)
    told = run_confirm(folder, ConfirmOptions(trials=confirm, repeats=0))
    # A study without a trial to confirm gives its user nothing: a hypervolume of 0.
    with contextlib.suppress(NothingToConfirmError), contextlib.closing(told) as events:  # type: ignore[type-var]
        show(view, events, plain=True)


def measured(folder: StudyFolder) -> Arm:
    """What a study cost and gave."""
    results = read_results(folder)
    told = [one for one in results.trials if one.state != "interrupted"]
    with Store(folder.results_db, read_only=True) as store:
        phases = [[one for one in store.phases(trial.number) if one[0] in WORK] for trial in told]
        rungs = [store.rungs(trial.number) for trial in told]
        samples = [len(store.samples(one.trial, one.step)) for of in rungs for one in of]
    ends = [one.rung.objectives for one in results.scored if one.trial.state == "complete"]
    found = read_confirmation(folder, results)
    confirmed = found.ranking.ranked if found and found.ranking else ()
    return Arm(
        trials=results.finished,
        complete=len(ends),
        stopped=sum(one.state == "stopped" for one in told),
        seconds=sum(seconds for of in phases for _, seconds in of),
        last_alone=sum(map(without_low_rungs, phases)),
        steps=sum(of[-1].step for of in rungs if of),
        samples=sum(samples),
        front=len(front(results)),
        hypervolume=volume(ends, results),
        fresh=volume([one.objectives for one in confirmed], results),
    )


def volume(points: Sequence[Mapping[str, Objective]], results: Results) -> float:
    """The share of the unit cube that the points dominate, 0 without any."""
    names = results.study.objectives
    found = hypervolumes([[point[name].value for name in names] for point in points])
    return found[-1] if found else 0.0


def volume_for(folder: StudyFolder, seconds: float) -> float:
    """What the first trials had found that took no more than `seconds` with the last rung alone."""
    results, spent = read_results(folder), 0.0
    points = {one.trial.number: one.rung.objectives for one in results.scored}
    found = []
    with Store(folder.results_db, read_only=True) as store:
        for trial in results.trials:
            phases = [one for one in store.phases(trial.number) if one[0] in WORK]
            spent += without_low_rungs(phases) if trial.state != "interrupted" else 0
            if spent <= seconds and trial.state == "complete":
                found.append(points[trial.number])
    return volume(found, results)


def without_low_rungs(phases: Sequence[tuple[str, float]]) -> float:
    """The seconds of a trial without sampling and scoring before its last training was over."""
    last = max((place for place, (name, _) in enumerate(phases) if name == "train"), default=0)
    return sum(
        seconds for place, (name, seconds) in enumerate(phases) if name == "train" or place > last
    )


def page(pairs: Sequence[Pair], offs: Sequence[Results], again: str) -> str:
    """The table in Markdown, made by the command `again`."""
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
    for one in pairs:
        off, on = one.off, one.on
        cells = [str(one.seed), f"{on.trials} and {off.trials}", str(on.stopped)]
        cells += [f"{off.seconds:.0f}", f"{off.last_alone:.0f}", f"{on.seconds:.0f}"]
        cells += [ratio(on.seconds, off.seconds), ratio(on.seconds, off.last_alone)]
        cells += [ratio(on.steps, off.steps), ratio(on.samples, off.samples)]
        cells += [str(off.front), str(on.front)]
        cells += [f"{off.hypervolume:.3f}", f"{on.hypervolume:.3f}", f"{one.same_cost:.3f}"]
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
        found = agreements(results.trials, results.rungs, results.study.objectives)
        lines += [f"- {results.study.name}: {line}" for line in rung_lines(found)]
    return "\n".join(lines) + "\n"


def cost_line(pairs: Sequence[Pair]) -> str:
    """What stopping saves, all seeds together."""
    on = sum(one.on.seconds for one in pairs)
    off, alone = (sum(getattr(one.off, n) for one in pairs) for n in ("seconds", "last_alone"))
    word = "at most half" if 2 * on <= off else "more than half"
    return (
        f"With the poor stopped the trials took {ratio(on, off)} of the time without, {word}, and "
        f"{ratio(on, alone)} of that of trials with the last rung alone."
    )


def gain_line(pairs: Sequence[Pair]) -> str:
    """What stopping does to what a user takes from a study: the confirmed on fresh noise."""
    gaps = [one.on.fresh - one.off.fresh for one in pairs]
    mean = statistics.fmean(gaps)
    told = f"Hypervolume of the confirmed, on minus off: {mean:+.3f}"
    if len(gaps) < 2:
        return f"{told}; one seed tells nothing of its spread."
    half = float(stats.t.ppf(0.975, len(gaps) - 1)) * statistics.stdev(gaps) / len(gaps) ** 0.5
    word = "worse" if mean + half < 0 else "better" if mean - half > 0 else "not told apart"
    return f"{told} [{mean - half:+.3f}, {mean + half:+.3f}] over {len(gaps)} seeds: {word}."


def ratio(part: float, whole: float) -> str:
    return f"{part / whole:.2f}" if whole else "-"


if __name__ == "__main__":
    main()
