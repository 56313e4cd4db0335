"""Measure what fewer denoising steps change: seconds, pictures, and what the judges say of them.

    python benchmarks/solver_steps.py [--lora FILE] [--seeds 8]

The suite of search_spaces/pose.yaml with its sampler (DPM-Solver++ 2M), on noise that no study
uses, by the base and by a LoRA (the published study's), in 10, 12, 20 and 30 steps by turns. The
same noise in more steps is nearly the same picture: the mean difference of pixels is from that of
the most steps. Objectives have 95 % intervals, and so have their differences from those of 20
steps, paired sample by sample. The tables go to benchmarks/results/solver_steps.md and .json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from machine import RESULTS, write_result

import metrics
from metrics.contract import Image, Objective, Sample, ScoredSample
from metrics.detectors import Detectors
from metrics.objectives import Difference, objectives, paired_difference
from tuner.judging.models import mannequin_judges
from tuner.models import BaseModel, load_base
from tuner.models.method import Weighted
from tuner.models.sampling import draw_cells
from tuner.space import SuiteConfig, load_study
from tuner.storage.files import write_text
from tuner.text import interval

ROOT = Path(__file__).parent.parent
SPACE = ROOT / "search_spaces" / "pose.yaml"
LORA = ROOT / "studies" / "pose" / "published" / "pose.safetensors"
STEPS = (10, 12, 20, 30)
COMPARED = 20
"""Steps of a suite by default."""
FIRST_SEED = 40_000
"""Above the noise seeds of studies, of confirmations and of other benchmarks."""


@dataclass(frozen=True)
class Row:
    """Samples of so many steps: processor seconds of each, pixels, and their objectives.

    `apart` is the mean difference of pixels, 0 to 255, from the samples of the most steps; `gains`
    are the objectives minus those of the samples of COMPARED steps, paired.
    """

    who: str
    steps: int
    seconds: float
    apart: float
    objectives: Mapping[str, Objective]
    gains: Mapping[str, Difference] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lora", type=Path, default=LORA)
    parser.add_argument("--seeds", type=int, default=8, help="of each of the suite's prompts")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    suite = load_study(SPACE).suite.fresh(options.seeds, FIRST_SEED)
    base = load_base("mannequin")
    rows: list[Row] = []
    with metrics.open_detectors(mannequin_judges()) as judges:
        for who, lora in (("base", None), ("LoRA", Weighted(options.lora))):
            rows += measured(base, suite, (who, lora), judges)
    names = load_study(SPACE).objectives
    write_text(RESULTS / "solver_steps.md", page(rows, names, suite.samples))
    write_result("solver_steps", {"samples": suite.samples, "rows": [asdict(row) for row in rows]})
    print(page(rows, names, suite.samples))


def measured(
    base: BaseModel, suite: SuiteConfig, of: tuple[str, Weighted | None], judges: Detectors
) -> list[Row]:
    """Return the rows of the base or of a LoRA; the most steps are drawn first."""
    who, lora = of
    rows: list[Row] = []
    finest: list[Image] = []
    scored: dict[int, list[ScoredSample]] = {}
    for steps in sorted(STEPS, reverse=True):
        begin = time.process_time()
        shorter = suite.model_copy(update={"steps": steps})
        batches = draw_cells(base, shorter, lora, range(suite.samples))
        images = [image for batch in batches for image in batch]
        seconds = (time.process_time() - begin) / len(images)
        finest = finest or images
        apart = np.mean(
            [np.abs(a.astype(float) - b).mean() for a, b in zip(images, finest, strict=True)]
        )
        cells = suite.cells()
        samples = [Sample(*cell, image) for cell, image in zip(cells, images, strict=True)]
        scored[steps] = metrics.score(samples, judges)
        rows.append(Row(who, steps, seconds, float(apart), objectives(scored[steps], None)))
        print(f"{who}, {steps} steps: {seconds:.3f} s", flush=True)
    return [
        replace(row, gains=gains(scored[row.steps], scored[COMPARED], [*row.objectives]))
        for row in rows[::-1]
    ]


def gains(
    scored: Sequence[ScoredSample], others: Sequence[ScoredSample], names: Sequence[str]
) -> dict[str, Difference]:
    return {name: paired_difference(scored, others, name) for name in names}


def page(rows: Sequence[Row], names: Sequence[str], samples: int) -> str:
    """Return the table in Markdown."""
    head = ["", "steps", "seconds a sample", "pixels", *names]
    lines = [
        "# How many denoising steps?",
        "",
        f"Made by `python benchmarks/solver_steps.py`: {samples} samples of each row from the same "
        "noise, on one thread. Pixels: mean difference, of 255, from the samples of the most "
        "steps.",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
    ]
    for row in rows:
        cells = [row.who, str(row.steps), f"{row.seconds:.2f}", f"{row.apart:.1f}"]
        cells += [interval(row.objectives[name]) for name in names]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"Differences from the samples of {COMPARED} steps, paired by prompt and seed:",
        "",
        f"| {' | '.join(['', 'steps', *names])} |",
        "|" + "---|" * (len(names) + 2),
    ]
    for row in rows:
        if row.steps != COMPARED:
            cells = [row.who, str(row.steps), *(signed(row.gains[name]) for name in names)]
            lines.append(f"| {' | '.join(cells)} |")
    clear = [
        f"{name} of the {row.who} in {row.steps} steps"
        for row in rows
        for name in names
        if row.steps != COMPARED and not row.gains[name].low <= 0 <= row.gains[name].high
    ]
    lines += ["", f"Clearly different, the interval without 0: {', '.join(clear) or 'none'}."]
    return "\n".join([*lines, ""])


def signed(gain: Difference) -> str:
    return f"{gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]"


if __name__ == "__main__":
    main()
