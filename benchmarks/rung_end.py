"""Measure how long a worker waits at the end of a rung: for scores, and while it writes pictures.

    python benchmarks/rung_end.py [--repeats 3]

A worker draws samples of the mannequin with one core, as another one would with a GPU. They are
judged by itself when all are drawn, or by one process beside it, which begins with the first batch.
Drawing is timed, then what a worker measures by itself (the loss of the LoRA, the published
study's, and copies of training pictures), then the wait for the last score. After that 52 pictures
of 512 px (figures with noise, which pack as badly as photographs) and their grid are written: one
after the other as Pillow does by itself, and as `tuner` does. By turns; medians go to
benchmarks/results/rung_end.md and .json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from machine import RESULTS, write_result
from PIL import Image as Pictures

import metrics
from metrics.contract import Image, Prompt, Sample, ScoredSample
from metrics.detectors import Detectors
from tuner.data import read_folder
from tuner.judging.models import mannequin_judges
from tuner.judging.pool import JudgePool, open_pool
from tuner.mannequin import draw
from tuner.mannequin.dataset import named_folder
from tuner.mannequin.figure import random_figure
from tuner.models import load_base
from tuner.models.sampling import sample_batches
from tuner.space import StudyConfig, TrainConfig, load_study
from tuner.space.templates import shipped_spaces
from tuner.storage import replacing
from tuner.storage.files import write_text
from tuner.storage.folder import RungFolder
from tuner.study.timed import usual_settings
from tuner.training import loss_measures
from tuner.trial import Workbench
from tuner.trial.copies import remembered
from tuner.trial.keep import draw_grid, write_pictures
from tuner.trial.scoring import Drawn
from tuner.trial.workbench import copy_measures

LORA = Path(__file__).parent.parent / "studies" / "pose" / "published" / "pose.safetensors"
BATCHES = (26, 13, 8)
SEEDS = (2, 4)
"""Noise seeds of each of the suite's 13 prompts: at a low rung, and at the last one."""
SIDE, WRITTEN, NOISE = 512, 52, 4.0


@dataclass(frozen=True)
class Row:
    """Seconds to draw so many samples in batches, to measure, and to wait for their scores."""

    judges: str
    samples: int
    batch: int
    drawn: float
    measured: float
    waited: float


@dataclass(frozen=True)
class Writing:
    """Seconds to write the pictures of a rung, and megabytes of the files."""

    way: str
    seconds: float
    megabytes: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows, written = waits(options.repeats), writing(options.repeats)
    text = page(rows, written)
    print(text)
    write_text(RESULTS / "rung_end.md", text)
    numbers = {"rows": [asdict(row) for row in rows], "writing": [asdict(way) for way in written]}
    write_result("rung_end", numbers)


def waits(repeats: int) -> list[Row]:
    """Return the rows of all arms, after a first turn that opens the networks."""
    study, settings = load_study(shipped_spaces()["pose"]), mannequin_judges()
    found: dict[tuple[str, int, int], list[tuple[float, float, float]]] = {}
    with metrics.open_detectors(settings) as own, open_pool(settings, 1, least=1) as pool:
        bench = opened(study, own)
        arms: list[tuple[str, JudgePool | None, int]] = [("the worker itself", None, BATCHES[0])]
        arms += [("one process beside it", pool, batch) for batch in BATCHES]
        for turn in range(repeats + 1):
            for seeds in SEEDS:
                for name, judges, batch in arms:
                    drawn = Drawn(own, judges)
                    took = drawn_and_judged(bench, usual_settings(study), drawn, seeds, batch)
                    if turn:
                        key = (name, len(drawn.samples), batch)
                        found.setdefault(key, []).append(took)
    return [
        Row(*key, *map(statistics.median, zip(*took, strict=True))) for key, took in found.items()
    ]


def opened(study: StudyConfig, judges: Detectors) -> Workbench:
    """Return the mannequin with the study's pictures, and what is remembered of these."""
    base, pictures = load_base("mannequin"), read_folder(named_folder(str(study.data)))
    assert judges.embedding is not None
    with tempfile.TemporaryDirectory() as place:
        memory = remembered(
            pictures, judges.embedding, "mannequin", study.suite.image_size, Path(place, "memory")
        )
    return Workbench(base, {None: pictures}, study.suite, judges, memories={None: memory})


def drawn_and_judged(
    bench: Workbench, config: TrainConfig, drawn: Drawn, seeds: int, most: int
) -> tuple[float, float, float]:
    """Return the seconds to draw the suite, to measure as a worker does, and to the last score."""
    suite, place, times = bench.suite, RungFolder(Path()), [time.monotonic()]
    with closing(sample_batches(bench.base, suite, LORA, place, seeds, most)) as batches:
        for batch, _ in batches:
            drawn.samples += batch
            drawn.submit()
    times.append(time.monotonic())
    copy_measures(bench, None, drawn.samples)
    loss_measures(bench.base, bench.training_sets[None], config, suite.image_size, LORA)
    times.append(time.monotonic())
    drawn.scored()
    times.append(time.monotonic())
    first, second, third = (after - before for before, after in pairwise(times))
    return first, second, third


def writing(repeats: int) -> list[Writing]:
    """Return both ways of writing a rung's pictures."""
    rng = np.random.default_rng(0)
    scored = [
        ScoredSample(Sample(Prompt(f"prompt {place // 4}"), place % 4, noisy(rng)), {})
        for place in range(WRITTEN)
    ]
    ways = {"one after the other": plainly, "by tuner": by_tuner}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, write in ways.items():
            with folder() as files:
                start = time.monotonic()
                write(scored, files)
                seconds = time.monotonic() - start
                size = sum(path.stat().st_size for path in files.root.rglob("*.png"))
            found[name].append((seconds, size / 1e6))
    return [
        Writing(name, *map(statistics.median, zip(*took, strict=True)))
        for name, took in found.items()
    ]


def noisy(rng: np.random.Generator) -> Image:
    figure = draw(random_figure(rng), SIDE).astype(np.float32)
    return (figure + rng.normal(0, NOISE, figure.shape)).clip(0, 255).astype(np.uint8)


@contextmanager
def folder() -> Iterator[RungFolder]:
    with tempfile.TemporaryDirectory() as place:
        yield RungFolder(Path(place))


def plainly(scored: Sequence[ScoredSample], files: RungFolder) -> None:
    samples = [each.sample for each in scored]
    for place, sample in enumerate(samples):
        with replacing(files.sample(place)) as path:
            Pictures.fromarray(sample.image).save(path)
    with replacing(files.grid) as path:
        draw_grid(samples).save(path)


def by_tuner(scored: Sequence[ScoredSample], files: RungFolder) -> None:
    write_pictures(scored, files, "any")


def page(rows: Sequence[Row], written: Sequence[Writing]) -> str:
    """Return both tables in Markdown."""
    lines = [
        "# The end of a rung",
        "",
        "Made by `python benchmarks/rung_end.py`: seconds to draw samples with one core, then to "
        "measure loss and copies, and then to wait for the last score.",
        "",
        "| judged by | samples | batch | drawn | measured | waited | of all |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        share = row.waited / (row.drawn + row.measured + row.waited)
        lines.append(
            f"| {row.judges} | {row.samples} | {row.batch} | {row.drawn:.1f} | {row.measured:.1f} "
            f"| {row.waited:.1f} | {share:.0%} |"
        )
    lines += [
        "",
        f"{WRITTEN} pictures of {SIDE} px and their grid, written:",
        "",
        "| way | seconds | MB |",
        "|---|---|---|",
    ]
    lines += [f"| {way.way} | {way.seconds:.1f} | {way.megabytes:.1f} |" for way in written]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
