"""Write docs/performance.md and its picture from the results of the benchmarks of speed.

    python benchmarks/performance.py

Each benchmark writes a table, NAME.md, and its numbers, NAME.json, into benchmarks/results/. The
page has a section for each table that is there; the picture shows those of trial.json.
"""

from __future__ import annotations

import json
import statistics
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.storage import replacing
from tuner.storage.files import write_text

HERE = Path(__file__).parent
RESULTS = HERE / "results"
DOCS = HERE.parent / "docs"
PAGE, PICTURE = "performance.md", "performance.png"
_WIDTH = 100


@dataclass(frozen=True)
class Section:
    """A section of the page: the name of its result, its heading, and what to know of it."""

    name: str
    heading: str
    text: str


SECTIONS = (
    Section(
        "demo",
        "How long does the demo take?",
        "Two workers on two idle cores; the poorer half of the trials stops at the first rung.",
    ),
    Section(
        "trial",
        "What does a trial cost, against a plain loop?",
        "The plain loop is [plain_loop.py](../benchmarks/plain_loop.py): a fresh process for each "
        "run, float32, the VAE and the text encoder in every step, pictures drawn and judged one "
        "at a time, all cores. It has the structure of the public examples, and no more. Ours "
        "encodes pictures and captions once, multiplies in bfloat16 where the processor has "
        "instructions for it, draws up to 26 pictures at a time, gives each worker one core, and "
        "loads its models once a study; its threads wait without work and memory comes in large "
        "pages, as `tuner run` sets it. It also measures losses and copies, which the plain loop "
        "does not.",
    ),
    Section(
        "step",
        "What does a step cost?",
        "Both precisions are measured in one process, by turns, while the other core rests. "
        "Samples are of the base, without a LoRA. The machine shares its memory with others, and a "
        "run differs from another by some 0.02 of the share. With torch's own settings a compiled "
        "step takes longer than an eager one ([table](../benchmarks/results/step_torch.md)).",
    ),
    Section(
        "search",
        "What does a search cost?",
        "A study chooses what to try, and may stop poor trials early (`rungs`). On the mannequin "
        "the choice saves little, and stopping none of the cost to a good front, since judging a "
        "rung takes as long as training to it; it shortens a study of a fixed number of trials.",
    ),
    Section(
        "solver_steps",
        "How many denoising steps does a sample need?",
        "A suite has 20 by default, and the demo 10.",
    ),
    Section(
        "judge_batches",
        "What do judges gain by several pictures at a time?",
        "Eight samples go through YOLO and the open_clip model together. MediaPipe and NudeNet, "
        "which compute on the processor, see one picture at a time.",
    ),
    Section(
        "rung_end",
        "What does a worker wait for at the end of a rung?",
        "One core draws in place of a GPU, another one judges. Several judge processes share the "
        "last batch equally; more than one could not be tried here.",
    ),
    Section(
        "workers",
        "How many workers does one process keep busy?",
        "`tuner run` is one process, which asks Optuna, follows all workers and stores what they "
        "measure, on one machine or [on many](machines.md).",
    ),
    Section(
        "estimates",
        "Does `tuner check` tell the time?",
        "It times loading, a training step, a denoising step and judging on the machine before it "
        "counts.",
    ),
    Section(
        "gpu",
        "What does a step cost on a GPU?",
        "Stable Diffusion 1.5's size with random weights.",
    ),
)
"""The sections in their order; one whose result is not there is left out."""

INTRODUCTION = """\
# Performance

Written by `python benchmarks/performance.py` from the results of benchmarks; each section names the
command that measured it. Other machines give other seconds: compare the ratios, or run the command.
"""

PARTS = {"start": "#9aa5b1", "train": "#1f4e79", "sample": "#4f8a8b", "judge": "#b5651d"}
"""Phases of a trial in their order, each with its colour."""


def main() -> None:
    write_text(DOCS / PAGE, page(RESULTS))
    trial = RESULTS / "trial.json"
    if trial.is_file():
        draw(json.loads(trial.read_text(encoding="utf-8")), DOCS / PICTURE)


def page(results: Path) -> str:
    """Return the page: a section for each result in the folder `results`."""
    return "\n".join([INTRODUCTION, *_lines(results)])


def _lines(results: Path) -> Iterator[str]:
    for section in SECTIONS:
        table, numbers = (results / f"{section.name}.{kind}" for kind in ("md", "json"))
        if not table.is_file():
            continue
        yield from (f"## {section.heading}", "", textwrap.fill(section.text, _WIDTH), "")
        if section.name == "trial":
            yield from (f"![Seconds of a trial by phase, the plain loop and ours]({PICTURE})", "")
        yield below_its_title(table.read_text(encoding="utf-8"))
        if numbers.is_file():
            yield measured_on(json.loads(numbers.read_text(encoding="utf-8")))
            yield ""


def below_its_title(text: str) -> str:
    """Return a result without its title, other headings one level deeper, for the page in docs/."""
    _, _, rest = text.partition("\n")
    for picture in ("search.png", "workers.png"):
        rest = rest.replace(f"]({picture})", f"](../benchmarks/results/{picture})")
    lines = [f"#{line}" if line.startswith("## ") else line for line in rest.strip().splitlines()]
    return "\n".join([*lines, ""])


def measured_on(result: Mapping[str, Any]) -> str:
    """Return a sentence with the machine, the versions and the date of a result."""
    machine = result["machine"]
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    versions = ", ".join(
        f"{name} {machine[key]}"
        for name, key in {"Python": "python", "torch": "torch", "diffusers": "diffusers"}.items()
    )
    return (
        f"Measured on {result['date']}: {machine['cpu']}, {machine['cores']} cores{gpu}; "
        f"{versions}, peft {machine['peft']}."
    )


def draw(trial: Mapping[str, Any], path: Path) -> None:
    """Draw the mean seconds of a trial by phase, the plain loop above ours, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")  # no window: the picture is a file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 2.4), layout="constrained")
    for row, arm in enumerate(("plain", "ours")):
        left = 0.0
        for phase, colour in PARTS.items():
            seconds = statistics.fmean(each["seconds"][phase] for each in trial[arm])
            label = phase if row == 0 else None
            axes.barh(row, seconds, left=left, color=colour, height=0.6, label=label)
            left += seconds
        axes.text(left, row, f" {left:.0f} s", va="center", fontsize=9)
    names = ("plain loop,\nall cores", f"ours, a trial's share\nof {trial['workers']} workers")
    axes.set_yticks(range(2), names, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("seconds a trial", fontsize=9)
    axes.margins(x=0.1)
    axes.legend(ncols=len(PARTS), fontsize=8, frameon=False, loc="lower right")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
