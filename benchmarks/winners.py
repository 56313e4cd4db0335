"""Is the named winner what its study says of it? Winners measured again on many other samples.

    python benchmarks/winners.py STUDY... [--noise-seeds 40]

Each STUDY is a folder of the mannequin that `tuner run` and `tuner confirm` wrote. The winner's
file is sampled on noise seeds that neither the study nor its confirmation uses, and each of its
objectives held against the interval that the confirmation stated. The table goes to
benchmarks/results/winners.md, what was measured to winners.jsonl beside it: nothing that is there
is measured again.
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
    """A study's winner, what was stated of it, and what it has on other noise."""

    folder: StudyFolder
    results: Results
    standing: Ranked
    again: Mapping[str, Objective]

    def holds(self, name: str) -> bool:
        """Whether the second measurement lies within the stated interval."""
        stated = self.standing.objectives[name]
        return stated.low <= self.again[name].value <= stated.high


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--noise-seeds", type=int, default=40, help="fresh seeds of each prompt")
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args(arguments)
    named = [(folder, *winner_of(folder)) for folder in map(StudyFolder, asked.studies)]
    asked.result.parent.mkdir(parents=True, exist_ok=True)
    lines = asked.result.with_suffix(".jsonl")
    settings = mannequin_judges()
    with open_detectors(settings) as judges, tempfile.TemporaryDirectory() as temporary:
        bench = Bench(load_base("mannequin"), judges, Scale(), Path(temporary))
        found = [
            Winner(folder, results, standing, measured(bench, suite, lines, (folder, standing)))
            for folder, results, standing in named
            for suite in [other_noise(folder, asked.noise_seeds)]
        ]
    text = page(found)
    write_text(asked.result, text)
    print(text)


def winner_of(folder: StudyFolder) -> tuple[Results, Ranked]:
    """The study and its confirmed winner. Raises SystemExit where there is none."""
    results = read_results(folder)
    found = read_confirmation(folder, results)
    if found is None or found.ranking is None or found.ranking.winner is None:
        raise SystemExit(f"{folder.root} has no confirmed winner; run `tuner confirm` on it")
    return results, found.ranking.winner


def other_noise(folder: StudyFolder, seeds: int) -> SuiteConfig:
    """The study's own suite on noise that nobody has drawn with."""
    return load_study(folder.study_yaml).suite.fresh(seeds, FIRST_SEED)


def measured(
    bench: Bench, suite: SuiteConfig, lines: Path, of: tuple[StudyFolder, Ranked]
) -> dict[str, Objective]:
    """The winner's objectives on `suite`: from the file, or measured and then written to it."""
    folder, standing = of
    candidate = standing.candidate
    rung = folder.trial(candidate.trial).rung(candidate.step)
    key = f"{read_results(folder).study.begun} {candidate} {suite.first_seed}+{suite.seeds}"
    for text in lines.read_text(encoding="utf-8").splitlines() if lines.is_file() else ():
        if (line := json.loads(text))["key"] == key:
            return {name: Objective(**one) for name, one in line["objectives"].items()}
    found = objectives(bench.scored(suite, rung.lora), bench.reference(suite))
    with lines.open("a", encoding="utf-8") as file:
        told = {name: asdict(one) for name, one in found.items()}
        file.write(json.dumps({"key": key, "objectives": told}) + "\n")
    return found


def page(found: Sequence[Winner]) -> str:
    """The table in Markdown."""
    samples = max(each.total for one in found for each in one.again.values())
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
    for number, one in enumerate(found, 1):
        at = one.standing.candidate
        for name in one.results.study.objectives:
            cells = [str(number), str(one.results.finished), f"trial {at.trial}, step {at.step}"]
            cells += [name, interval(one.standing.objectives[name]), interval(one.again[name])]
            lines.append("| " + " | ".join([*cells, "yes" if one.holds(name) else "no"]) + " |")
    held = sum(all(map(one.holds, one.results.study.objectives)) for one in found)
    lines += ["", f"{held} of {len(found)} winners lie within all their stated intervals."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
