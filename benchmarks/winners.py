"""Measure winners again on many other samples, and compare with what their studies state.

    python benchmarks/winners.py STUDY... [--noise-seeds 40]

Each STUDY is a folder of the mannequin that `tuner run` and `tuner confirm` wrote. The winner's
file is sampled on noise seeds that neither the study nor its confirmation uses, and each objective
is compared with the interval that the confirmation stated. The table goes to
benchmarks/results/winners.md, the measurements to winners.jsonl beside it, from which a later call
takes them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from world import Bench
from world_arms import Scale

from metrics import open_detectors
from metrics.contract import Objective
from metrics.objectives import objectives
from tuner.judging.models import mannequin_judges
from tuner.models import load_base
from tuner.results import read_confirmation, read_results
from tuner.results.results import Results
from tuner.results.winner import Ranked
from tuner.space import SuiteConfig, load_study
from tuner.storage import StudyFolder
from tuner.storage.files import write_text
from tuner.text import interval

RESULT = Path(__file__).parent / "results" / "winners.md"
FIRST_SEED = 30_000
"""Above the noise seeds of studies, of confirmations and of benchmarks/studies.py."""


@dataclass(frozen=True)
class Winner:
    """A study's winner with its stated objectives, and its objectives on other noise."""

    folder: StudyFolder
    results: Results
    standing: Ranked
    again: Mapping[str, Objective]

    def holds(self, name: str) -> bool:
        """Return True if the second measurement lies within the stated interval."""
        stated = self.standing.objectives[name]
        return stated.low <= self.again[name].value <= stated.high


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--noise-seeds", type=int, default=40, help="fresh seeds of each prompt")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    named = [(folder, *winner_of(folder)) for folder in map(StudyFolder, options.studies)]
    options.result.parent.mkdir(parents=True, exist_ok=True)
    lines = options.result.with_suffix(".jsonl")
    settings = mannequin_judges()
    with open_detectors(settings) as judges, tempfile.TemporaryDirectory() as temporary:
        bench = Bench(load_base("mannequin"), judges, Scale(), Path(temporary))
        winners = [
            Winner(folder, results, standing, measured(bench, suite, lines, (folder, standing)))
            for folder, results, standing in named
            for suite in [other_noise(folder, options.noise_seeds)]
        ]
    text = page(winners)
    write_text(options.result, text)
    print(text)


def winner_of(folder: StudyFolder) -> tuple[Results, Ranked]:
    """Return the study and its confirmed winner. Raises SystemExit if there is none."""
    results = read_results(folder)
    confirmation = read_confirmation(folder, results)
    if confirmation and confirmation.ranking and confirmation.ranking.winner:
        return results, confirmation.ranking.winner
    raise SystemExit(f"{folder.root} has no confirmed winner; run `tuner confirm` on it")


def other_noise(folder: StudyFolder, seeds: int) -> SuiteConfig:
    """Return the study's suite with noise that no study or confirmation used."""
    return load_study(folder.study_yaml).suite.fresh(seeds, FIRST_SEED)


def measured(
    bench: Bench, suite: SuiteConfig, lines: Path, of: tuple[StudyFolder, Ranked]
) -> dict[str, Objective]:
    """Return the winner's objectives on `suite`, from the file or measured and added to it."""
    folder, standing = of
    candidate = standing.candidate
    rung = folder.trial(candidate.trial).rung(candidate.step)
    key = f"{read_results(folder).study.begun} {candidate} {suite.first_seed}+{suite.seeds}"
    for text in lines.read_text(encoding="utf-8").splitlines() if lines.is_file() else ():
        if (line := json.loads(text))["key"] == key:
            return {name: Objective(**value) for name, value in line["objectives"].items()}
    values = objectives(bench.scored(suite, rung.lora), bench.reference(suite))
    with lines.open("a", encoding="utf-8") as file:
        plain = {name: asdict(value) for name, value in values.items()}
        file.write(json.dumps({"key": key, "objectives": plain}) + "\n")
    return values


def page(winners: Sequence[Winner]) -> str:
    """Return the table in Markdown."""
    samples = max(value.total for winner in winners for value in winner.again.values())
    lines = [
        "# Are winners what their studies say?",
        "",
        f"Made by `python benchmarks/winners.py`: the winner of each confirmed study on {samples} "
        "samples of other noise, against the interval that the confirmation stated (all "
        "objectives of all candidates together 95 %).",
        "",
        "| study | trials | winner | objective | stated | measured again | within |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, winner in enumerate(winners, 1):
        results, candidate = winner.results, winner.standing.candidate
        file = f"trial {candidate.trial}, step {candidate.step}"
        for name in results.study.objectives:
            stated, again = winner.standing.objectives[name], winner.again[name]
            cells = [str(number), str(results.finished), file, name]
            cells += [interval(stated), interval(again), "yes" if winner.holds(name) else "no"]
            lines.append("| " + " | ".join(cells) + " |")
    held = sum(all(map(each.holds, each.results.study.objectives)) for each in winners)
    lines += ["", f"{held} of {len(winners)} winners lie within all their stated intervals."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
