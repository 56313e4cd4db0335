"""Do studies of one space agree, and does their front beat the base on fresh noise?

    python benchmarks/studies.py STUDY... [--noise-seeds 20]

Each STUDY is a folder that `tuner run` wrote. Of its Pareto front the trial with the best pose is
sampled again, and the base with it, on noise seeds that no study uses; the difference is paired by
prompt and seed. Beside it stand the caption policies of all sound trials. The table goes to
benchmarks/results/studies.md, what was measured to studies.jsonl beside it: a study that is there
is not measured again.
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
from metrics.contract import JudgeSettings, Objective
from metrics.objectives import Difference, objectives, paired_difference
from tuner import mannequin
from tuner.base_model import load_base
from tuner.fresh import FreshSuite
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
    kept = asked.result.with_suffix(".jsonl")
    known = read_known(kept)
    missing = [one for one in studies if key_of(one[1], asked.noise_seeds) not in known]
    settings = JudgeSettings(str(mannequin.CLIP), str(mannequin.YOLO))
    if missing:
        with open_detectors(settings) as judges, tempfile.TemporaryDirectory() as temporary:
            scale = Scale(noise_seeds=asked.noise_seeds)
            bench = Bench(load_base("mannequin"), judges, scale, Path(temporary))
            for folder, results in missing:
                fresh = remeasured(bench, folder, results)
                line = {"key": key_of(results, asked.noise_seeds), **asdict(fresh)}
                kept.parent.mkdir(parents=True, exist_ok=True)
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        known = read_known(kept)
    measured = [known[key_of(results, asked.noise_seeds)] for _, results in studies]
    text = page([one for _, one in studies], measured, asked.noise_seeds)
    write_text(asked.result, text)
    print(text)


def key_of(results: Results, noise_seeds: int) -> str:
    """What a measurement is known by: the study, the trial that was chosen, and how many seeds."""
    best = best_pose(results)
    return f"{results.study.begun} {best.trial.number} {best.rung.step} {noise_seeds}"


def read_known(path: Path) -> dict[str, Fresh]:
    """What was measured already, by key."""
    found = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        line = json.loads(text)
        base, trial = Objective(**line["base"]), Objective(**line["trial"])
        found[line["key"]] = Fresh(base, trial, Difference(**line["difference"]))
    return found


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
    for number, (results, fresh) in enumerate(zip(studies, measured, strict=True), 1):
        best, apart = best_pose(results), fresh.difference
        gain = f"{apart.value:+.2f} [{apart.low:+.2f}, {apart.high:+.2f}]"
        told = f"trial {best.trial.number}: {words(best.trial.parameters)}"
        cells = [str(number), str(results.finished), told]
        cells += [interval(fresh.base), interval(fresh.trial), gain]
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
