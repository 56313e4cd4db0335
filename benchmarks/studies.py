"""Test whether studies of one space agree, and whether their front beats the base on fresh noise.

    python benchmarks/studies.py STUDY... [--noise-seeds 40] [--choosing-seeds 8]

Each STUDY is a folder that `tuner run` wrote. The best trial of a front is partly lucky. Therefore
there are two steps, each on noise seeds that no study uses: every trial of the Pareto front is
sampled again, and the one with the best pose chosen; then this trial and the base are sampled on
other seeds, and their difference, paired by prompt and seed, is the result. A second table compares
the caption policies of all sound trials. The tables go to benchmarks/results/studies.md, the
measurements to studies.jsonl beside it, from which a later call takes them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from world import Bench
from world_arms import Scale

from metrics import open_detectors
from metrics.contract import Objective
from metrics.objectives import Difference, objectives, paired_difference
from tuner.judging.models import mannequin_judges
from tuner.models import load_base
from tuner.results import read_results
from tuner.results.results import Result, Results, front, strength
from tuner.space import SuiteConfig
from tuner.storage import StudyFolder
from tuner.storage.files import write_text
from tuner.text import interval, words

RESULT = Path(__file__).parent / "results" / "studies.md"
FIRST_SEED = 10_000
"""First seed of the comparison with the base; above the noise seeds of any study."""
CHOOSING_SEED = 20_000
"""First seed of the choice within a front; above the seeds of the comparison."""


@dataclass(frozen=True)
class Fresh:
    """The base and one trial on the same fresh noise, and their paired difference in pose."""

    base: Objective
    trial: Objective
    difference: Difference


@dataclass(frozen=True)
class Chosen:
    """The trial of a front with the best pose on fresh noise, and its result on other noise."""

    result: Result
    choice: Fresh
    proof: Fresh


@dataclass(frozen=True)
class Measurements:
    """Settings of the measurements; `lines` is the file that stores each result."""

    bench: Bench
    lines: Path
    noise_seeds: int
    choosing_seeds: int


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--noise-seeds", type=int, default=40, help="fresh seeds of each prompt")
    parser.add_argument(
        "--choosing-seeds", type=int, default=8, help="fresh seeds of each prompt for the choice"
    )
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    folders = [StudyFolder(path) for path in options.studies]
    studies = [(folder, read_results(folder)) for folder in folders]
    options.result.parent.mkdir(parents=True, exist_ok=True)
    settings = mannequin_judges()
    with open_detectors(settings) as judges, tempfile.TemporaryDirectory() as temporary:
        bench = Bench(load_base("mannequin"), judges, Scale(), Path(temporary))
        kept = options.result.with_suffix(".jsonl")
        measurements = Measurements(bench, kept, options.noise_seeds, options.choosing_seeds)
        chosen = [choose(measurements, folder, results) for folder, results in studies]
    text = page([results for _, results in studies], chosen)
    write_text(options.result, text)
    print(text)


def choose(measurements: Measurements, folder: StudyFolder, results: Results) -> Chosen:
    """Return the trial of a study's front with the best pose on fresh noise.

    Raises ValueError for an empty front.
    """
    few = SuiteConfig().fresh(measurements.choosing_seeds, CHOOSING_SEED)
    many = SuiteConfig().fresh(measurements.noise_seeds, FIRST_SEED)
    choices = [
        (result, measured(measurements, folder, results, result, few)) for result in front(results)
    ]
    best, choice = max(choices, key=lambda pair: pair[1].trial.value)
    return Chosen(best, choice, measured(measurements, folder, results, best, many))


def measured(
    measurements: Measurements,
    folder: StudyFolder,
    results: Results,
    result: Result,
    suite: SuiteConfig,
) -> Fresh:
    """Return base and trial on `suite`, from the file or sampled, judged and added to the file."""
    seeds = f"{suite.first_seed}+{suite.seeds}"
    key = f"{results.study.begun} {result.trial.number} {result.rung.step} {seeds}"
    known = read_known(measurements.lines)
    if key not in known:
        base = measurements.bench.reference(suite)
        lora = folder.trial(result.trial.number).rung(result.rung.step).lora
        scored = measurements.bench.scored(suite, lora)
        apart = paired_difference(scored, base, "pose")
        fresh = Fresh(objectives(base, None)["pose"], objectives(scored, base)["pose"], apart)
        with measurements.lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **asdict(fresh)}) + "\n")
        return fresh
    return known[key]


def read_known(path: Path) -> dict[str, Fresh]:
    """Return the stored measurements by key."""
    known = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        line = json.loads(text)
        base, trial = Objective(**line["base"]), Objective(**line["trial"])
        known[line["key"]] = Fresh(base, trial, Difference(**line["difference"]))
    return known


def policies(results: Results) -> dict[str, list[Result]]:
    """Return the sound trials of each caption policy: pose not below the base's lower bound.

    A collapsed trial says nothing about captions.
    """
    assert results.base is not None
    least = results.base.objectives["pose"].low
    trials: dict[str, list[Result]] = {}
    for result in results.scored:
        if result.rung.objectives["pose"].value >= least:
            trials.setdefault(str(result.trial.parameters["captions"]), []).append(result)
    return trials


def page(studies: Sequence[Results], chosen: Sequence[Chosen]) -> str:
    """Return the tables in Markdown."""
    choice, proof = chosen[0].choice.difference.pairs, chosen[0].proof.difference.pairs
    lines = [
        "# Studies of one space with different seeds",
        "",
        f"Made by `python benchmarks/studies.py`: each front's trials on {choice} fresh samples, "
        f"the best of them and the base on {proof} others; 95 % intervals.",
        "",
        "| study | trials | front | best pose of the front | chosen at | base | trial "
        "| trial - base, paired |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, (results, best) in enumerate(zip(studies, chosen, strict=True), 1):
        apart, trial = best.proof.difference, best.result.trial
        gain = f"{apart.value:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]"
        cells = [str(number), str(results.finished), str(len(front(results)))]
        cells += [f"trial {trial.number}: {words(trial.parameters)}"]
        cells += [f"{best.choice.trial.value:.2f} (base {best.choice.base.value:.2f})"]
        cells += [interval(best.proof.base), interval(best.proof.trial), gain]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## Caption policies", "", POLICIES, ""]
    lines += ["| study | captions | sound trials | strength | dressed on bare prompts | pose |"]
    lines += ["|---|---|---|---|---|---|"]
    for number, results in enumerate(studies, 1):
        for name, trials in sorted(policies(results).items()):
            cells = [str(number), name, str(len(trials)), *_means(results, trials)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


POLICIES = (
    "Means over each study's sound trials (pose not below the base's lower bound). Strength is the "
    "geometric mean of the objectives' lower bounds, by which `tuner export` chooses."
)


def _means(results: Results, trials: Sequence[Result]) -> list[str]:
    columns = [
        [strength(result.rung, results.study.objectives) for result in trials],
        [result.rung.objectives["clothing"].value for result in trials],
        [result.rung.objectives["pose"].value for result in trials],
    ]
    return [f"{statistics.fmean(column):.3f}" for column in columns]


if __name__ == "__main__":
    main()
