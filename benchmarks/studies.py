"""Do studies of one space agree, and does their front beat the base on fresh noise?

    python benchmarks/studies.py STUDY... [--noise-seeds 20]

Each STUDY is a folder that `tuner run` wrote. Of its Pareto front the trial with the best pose is
sampled again, and the base with it, on noise seeds that no study uses; the difference is paired by
prompt and seed. Beside it stand the caption policies of all trials that were scored. The table
goes to benchmarks/results/studies.md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from world import Bench
from world_arms import FreshSuite, Scale

from metrics import open_detectors
from metrics.contract import JudgeSettings, Objective
from metrics.objectives import Difference, objectives, paired_difference
from tuner import mannequin
from tuner.base_model import load_base
from tuner.results_table import Result, Results, front, interval, read_results, strength, words
from tuner.study_folder import StudyFolder, write_text

RESULT = Path(__file__).parent / "results" / "studies.md"
FIRST_SEED = 10_000
"""Above the noise seeds of any study."""


@dataclass(frozen=True)
class Fresh:
    """The base and a trial of the front on the same fresh noise, and their paired difference."""

    base: Objective
    trial: Objective
    difference: Difference


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--noise-seeds", type=int, default=20, help="fresh seeds of each prompt")
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args(arguments)
    folders = [StudyFolder(path) for path in asked.studies]
    studies = [(folder, read_results(folder)) for folder in folders]
    settings = JudgeSettings(str(mannequin.CLIP), str(mannequin.YOLO))
    with open_detectors(settings) as judges, tempfile.TemporaryDirectory() as folder:
        scale = Scale(noise_seeds=asked.noise_seeds)
        bench = Bench(load_base("mannequin"), judges, scale, Path(folder))
        measured = [remeasured(bench, *study) for study in studies]
    text = page([one for _, one in studies], measured, asked.noise_seeds)
    write_text(asked.result, text)
    print(text)


def best_pose(results: Results) -> Result:
    """The trial of the front with the highest pose. Raises ValueError for an empty front."""
    return max(front(results), key=lambda one: one.rung.objectives["pose"].value)


def remeasured(bench: Bench, folder: StudyFolder, results: Results) -> Fresh:
    """Base and best trial of a study on fresh noise."""
    best = best_pose(results)
    suite = FreshSuite(seeds=bench.scale.noise_seeds, first_seed=FIRST_SEED)
    base = bench.reference(suite)
    lora = folder.trial(best.trial.number).rung(best.rung.step).lora
    scored = bench.scored(suite, lora)
    return Fresh(
        objectives(base, None)["pose"],
        objectives(scored, base)["pose"],
        paired_difference(scored, base, "pose"),
    )


def policies(results: Results) -> dict[str, list[float]]:
    """For each caption policy the strength (results_table.strength) of its scored trials."""
    found: dict[str, list[float]] = {}
    for one in results.scored:
        value = strength(one.rung, results.study.objectives)
        found.setdefault(str(one.trial.parameters["captions"]), []).append(value)
    return found


def page(studies: Sequence[Results], measured: Sequence[Fresh], noise_seeds: int) -> str:
    """The tables in Markdown."""
    lines = [
        "# Studies of one space with different seeds",
        "",
        f"Made by `python benchmarks/studies.py`: {noise_seeds} fresh noise seeds a prompt, "
        f"{measured[0].difference.pairs} samples a side, 95 % intervals.",
        "",
        "| study | trials | best pose on the front | base | trial | trial - base, paired |",
        "|---|---|---|---|---|---|",
    ]
    for results, fresh in zip(studies, measured, strict=True):
        best, apart = best_pose(results), fresh.difference
        gain = f"{apart.value:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}]"
        told = f"trial {best.trial.number}: {words(best.trial.parameters)}"
        cells = [results.study.name, str(results.finished), told]
        cells += [interval(fresh.base), interval(fresh.trial), gain]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Caption policies: mean over their scored trials of the geometric mean of the"]
    lines += ["objectives' lower bounds (and the best of them).", ""]
    names = sorted({name for results in studies for name in policies(results)})
    lines += ["| study | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for results in studies:
        found = policies(results)
        cells = [_policy(found.get(name, [])) for name in names]
        lines.append(f"| {results.study.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _policy(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.fmean(values):.2f} of {len(values)} (best {max(values):.2f})"


if __name__ == "__main__":
    main()
