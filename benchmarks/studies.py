"""Do studies of one space agree, and does their front beat the base on fresh noise?

    python benchmarks/studies.py STUDY... [--noise-seeds 40] [--choosing-seeds 8]

Each STUDY is a folder that `tuner run` wrote. The best of a front is partly the luckiest of it, so
there are two steps, each on noise seeds that no study uses: every trial of the Pareto front is
sampled again, and the one with the best pose chosen; that one and the base are sampled once more,
on other seeds, and their difference, paired by prompt and seed, is what counts. Beside it stand
the caption policies of all sound trials. The table goes to benchmarks/results/studies.md, what was
measured to studies.jsonl beside it: nothing that is there is measured again.
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
"""Of the comparison with the base; above the noise seeds of any study."""
CHOOSING_SEED = 20_000
"""Of the choice within a front; above the seeds of the comparison."""


@dataclass(frozen=True)
class Fresh:
    """The base and one trial on the same fresh noise, and their paired difference in pose."""

    base: Objective
    trial: Objective
    difference: Difference


@dataclass(frozen=True)
class Chosen:
    """The trial of a front with the best pose on fresh noise, and how it does on other noise."""

    result: Result
    choice: Fresh
    proof: Fresh


@dataclass(frozen=True)
class Measurements:
    """What is measured, kept in the file `lines` so that it is measured once."""

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
    parser.add_argument("--choosing-seeds", type=int, default=8, help="those of the choice")
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args(arguments)
    folders = [StudyFolder(path) for path in asked.studies]
    studies = [(folder, read_results(folder)) for folder in folders]
    asked.result.parent.mkdir(parents=True, exist_ok=True)
    settings = mannequin_judges()
    with open_detectors(settings) as judges, tempfile.TemporaryDirectory() as temporary:
        bench = Bench(load_base("mannequin"), judges, Scale(), Path(temporary))
        kept = asked.result.with_suffix(".jsonl")
        measurements = Measurements(bench, kept, asked.noise_seeds, asked.choosing_seeds)
        chosen = [choose(measurements, folder, results) for folder, results in studies]
    text = page([one for _, one in studies], chosen)
    write_text(asked.result, text)
    print(text)


def choose(measurements: Measurements, folder: StudyFolder, results: Results) -> Chosen:
    """The best pose of a study's front on fresh noise. Raises ValueError for an empty front."""
    few = SuiteConfig().fresh(measurements.choosing_seeds, CHOOSING_SEED)
    many = SuiteConfig().fresh(measurements.noise_seeds, FIRST_SEED)
    choices = [(one, measured(measurements, folder, results, one, few)) for one in front(results)]
    best, choice = max(choices, key=lambda pair: pair[1].trial.value)
    return Chosen(best, choice, measured(measurements, folder, results, best, many))


def measured(
    measurements: Measurements,
    folder: StudyFolder,
    results: Results,
    one: Result,
    suite: SuiteConfig,
) -> Fresh:
    """Base and trial on `suite`: from the file, or sampled and judged and then written to it."""
    seeds = f"{suite.first_seed}+{suite.seeds}"
    key = f"{results.study.begun} {one.trial.number} {one.rung.step} {seeds}"
    known = read_known(measurements.lines)
    if key not in known:
        base = measurements.bench.reference(suite)
        lora = folder.trial(one.trial.number).rung(one.rung.step).lora
        scored = measurements.bench.scored(suite, lora)
        apart = paired_difference(scored, base, "pose")
        fresh = Fresh(objectives(base, None)["pose"], objectives(scored, base)["pose"], apart)
        with measurements.lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, **asdict(fresh)}) + "\n")
        return fresh
    return known[key]


def read_known(path: Path) -> dict[str, Fresh]:
    """What was measured already, by key."""
    found = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        line = json.loads(text)
        base, trial = Objective(**line["base"]), Objective(**line["trial"])
        found[line["key"]] = Fresh(base, trial, Difference(**line["difference"]))
    return found


def policies(results: Results) -> dict[str, list[Result]]:
    """The sound trials of each caption policy: those with a pose that the base might have.

    A collapsed trial says nothing of captions.
    """
    assert results.base is not None
    least = results.base.objectives["pose"].low
    found: dict[str, list[Result]] = {}
    for one in results.scored:
        if one.rung.objectives["pose"].value >= least:
            found.setdefault(str(one.trial.parameters["captions"]), []).append(one)
    return found


def page(studies: Sequence[Results], chosen: Sequence[Chosen]) -> str:
    """The tables in Markdown."""
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
    for number, (results, one) in enumerate(zip(studies, chosen, strict=True), 1):
        apart = one.proof.difference
        gain = f"{apart.value:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]"
        told = f"trial {one.result.trial.number}: {words(one.result.trial.parameters)}"
        cells = [str(number), str(results.finished), str(len(front(results))), told]
        cells += [f"{one.choice.trial.value:.2f} (base {one.choice.base.value:.2f})"]
        cells += [interval(one.proof.base), interval(one.proof.trial), gain]
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
        [strength(one.rung, results.study.objectives) for one in trials],
        [one.rung.objectives["clothing"].value for one in trials],
        [one.rung.objectives["pose"].value for one in trials],
    ]
    return [f"{statistics.fmean(column):.3f}" for column in columns]


if __name__ == "__main__":
    main()
