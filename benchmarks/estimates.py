"""Compare the time that `tuner check` estimates with the time that `tuner run` takes.

    python benchmarks/estimates.py [NAME...] [--studies studies/estimates]

For each study, `tuner check --json` and then `tuner run --json` as processes of their own, timed
from start to end; nothing else should run beside them. A study's folder is removed before its run.
With NAMEs only these are measured, the others keep their rows. The table goes to
benchmarks/results/estimates.md and .json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from machine import RESULTS, write_result

from tuner.storage.files import write_text

HERE = Path(__file__).parent
ROOT = HERE.parent
SPACES = ROOT / "search_spaces"
STUDIES: Mapping[str, Sequence[str]] = {
    "pose": (str(SPACES / "pose.yaml"),),
    "look": (str(SPACES / "look.yaml"), "--trials", "4"),
    **{
        name: (str(HERE / "estimates" / f"{name}.yaml"),)
        for name in ("whole_models", "large_pictures", "recipes")
    },
}
"""The studies: what `tuner check` and `tuner run` are called with."""

INTRODUCTION = """\
# The time that `tuner check` estimates, and the time that the study took

Made by `python benchmarks/estimates.py`; the machine is in estimates.json. Minutes on the clock, \
with loading and confirmation. Where poor trials are stopped early, the estimate is the one that \
`tuner check` names for that case.
"""


@dataclass(frozen=True)
class Measured:
    """Seconds that were estimated and taken for a study with so many workers."""

    workers: int
    estimated: float
    taken: float

    @property
    def ratio(self) -> float:
        return self.estimated / self.taken


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(STUDIES))
    parser.add_argument("--studies", type=Path, default=ROOT / "studies" / "estimates")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(STUDIES):
        parser.error(f"no studies {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    rows = read_rows(RESULTS / "estimates.json")
    for name in options.names or STUDIES:
        rows[name] = measured(STUDIES[name], options.studies)
        print(f"{name}: {rows[name].estimated:.0f} s estimated, {rows[name].taken:.0f} s taken")
        write_text(RESULTS / "estimates.md", page(rows))
        write_result("estimates", {"studies": {key: asdict(row) for key, row in rows.items()}})


def measured(space: Sequence[str], studies: Path) -> Measured:
    """Return the estimate of a study and the seconds of its run."""
    report = json.loads(tuner("check", *space, "--json", "--studies", str(studies)))
    if Path(report["folder"]).exists():
        shutil.rmtree(report["folder"])
    begin = time.monotonic()
    tuner("run", *space, "--json", "--studies", str(studies))
    taken = time.monotonic() - begin
    return Measured(report["workers"], report["kept_seconds"], taken)


def tuner(*arguments: str) -> str:
    """Return what a command prints on stdout; what it prints on stderr goes to the terminal."""
    command = [sys.executable, "-m", "tuner", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def read_rows(path: Path) -> dict[str, Measured]:
    """Return the rows of earlier calls."""
    if not path.is_file():
        return {}
    known = json.loads(path.read_text(encoding="utf-8"))["studies"]
    return {name: Measured(**known[name]) for name in STUDIES if name in known}


def page(rows: Mapping[str, Measured]) -> str:
    """Return the table in Markdown."""
    lines = [
        INTRODUCTION,
        "| study | workers | estimated | taken | ratio |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        space = " ".join([str(Path(STUDIES[name][0]).relative_to(ROOT)), *STUDIES[name][1:]])
        minutes = f"{row.estimated / 60:.1f} | {row.taken / 60:.1f}"
        lines.append(f"| `{space}` | {row.workers} | {minutes} | {row.ratio:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
