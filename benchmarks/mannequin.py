"""Measure what the mannequin can draw, stage by stage: renders, reconstructions, samples.

    python benchmarks/mannequin.py [--samples 260] [--weights DIR] [--pictures DIR]

Prints a table with 95 % Wilson intervals and writes it to benchmarks/results/mannequin.md.
Bare prompts are `1girl` / `1boy`; named ones carry pose and clothes tags.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL
from PIL import Image as Pictures

from metrics import open_detectors, score
from metrics.contract import Image, Prompt, Sample, ScoredSample
from metrics.detectors import Detectors
from metrics.intervals import wilson
from metrics.judges.gender import GROUPS
from tuner.judging.models import mannequin_judges
from tuner.mannequin import draw
from tuner.mannequin.building.build import redraw
from tuner.mannequin.render import random_figure
from tuner.models import draw as draw_samples, load_base
from tuner.space import SuiteConfig
from tuner.storage import shipped

RESULT = Path(__file__).parent / "results" / "mannequin.md"
BARE = (Prompt("1girl", "female"), Prompt("1boy", "male"))
NAMED = (
    Prompt("1girl, solo, full body, arms at sides, standing, red shirt, blue skirt", "female"),
    Prompt("1girl, solo, full body, hands on hips, standing, green dress", "female"),
    Prompt("1boy, solo, full body, arms at sides, standing, white shirt, black trousers", "male"),
    Prompt("1boy, solo, full body, arms up, standing, blue sweater, green shorts", "male"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=260)
    parser.add_argument("--weights", type=Path, default=shipped.WEIGHTS)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    settings = mannequin_judges(options.weights)
    with open_detectors(settings) as detectors:
        stages = {name: score(samples, detectors) for name, samples in _stages(options).items()}
        whole = _sex_line(detectors)
    lines = [
        "| stage | n | pose read | limbs wrong | undressed | sex right |",
        "|---|" + "---|" * 5,
    ]
    lines += [_row(name, scored) for name, scored in stages.items()]
    command = f"python benchmarks/mannequin.py --samples {options.samples}"
    head = f"Made by `{command}`; rates with 95 % Wilson intervals."
    text = "\n".join([head, "", *lines, "", whole]) + "\n"
    print(text)
    if options.weights == shipped.WEIGHTS:
        RESULT.write_text(text)
    if options.pictures:
        _save_sheets(stages, options.pictures)


def _stages(options: argparse.Namespace) -> dict[str, list[Sample]]:
    rng = np.random.default_rng(77)
    figures = [random_figure(rng) for _ in range(options.samples)]
    renders = np.stack([draw(figure) for figure in figures])
    vae = AutoencoderKL.from_pretrained(options.weights / "base" / "vae")
    prompts = [Prompt("", figure.sex) for figure in figures]
    return {
        "clean renders": _samples(renders, prompts),
        "reconstructions by the VAE": _samples(redraw(vae, renders), prompts),
        "samples of bare prompts": _drawn(options.weights / "base", BARE, options.samples),
        "samples of prompts with tags": _drawn(options.weights / "base", NAMED, options.samples),
    }


def _sex_line(detectors: Detectors, count: int = 3000) -> str:
    """Test the small open_clip model alone on whole held-out renders of dressed figures."""
    rng = np.random.default_rng(4242)
    figures = [random_figure(rng) for _ in range(count)]
    female = [
        detectors.zero_shot.probabilities(draw(figure), GROUPS)["female"] for figure in figures
    ]
    right = sum(
        (probability > 0.5) == (figure.sex == "female")
        for probability, figure in zip(female, figures, strict=True)
    )
    low, high = wilson(right, count)
    return (
        f"The open_clip model by itself, whole clean held-out renders: sex right on {right} of "
        f"{count} ({low:.3f} to {high:.3f})."
    )


def _samples(images: Sequence[Image], prompts: Sequence[Prompt]) -> list[Sample]:
    return [Sample(p, i, image) for i, (image, p) in enumerate(zip(images, prompts, strict=True))]


def _drawn(base: Path, prompts: tuple[Prompt, ...], count: int) -> list[Sample]:
    suite = SuiteConfig(prompts=prompts, seeds=count // len(prompts), size=64)
    pipeline = load_base(str(base)).pipeline
    samples = []
    cells = suite.cells()
    for first in range(0, len(cells), 26):
        indices = range(first, min(first + 26, len(cells)))
        for index, image in zip(indices, draw_samples(pipeline, suite, indices), strict=True):
            samples.append(Sample(cells[index][0], cells[index][1], image))
    return samples


def _row(name: str, scored: list[ScoredSample]) -> str:
    cells = [
        _rate([each.scores["pose_readable"].value for each in scored], lambda value: value >= 0.5),
        _rate([each.scores["limbs"].value for each in scored], lambda value: value < 0.5),
        _rate([each.scores["cloth_share"].value for each in scored], lambda value: value < 0.5),
        _rate([each.scores["gender"].value for each in scored], lambda value: value >= 0.5),
    ]
    return f"| {name} | {len(scored)} | " + " | ".join(cells) + " |"


def _rate(values: Sequence[float | None], counts) -> str:  # type: ignore[no-untyped-def]
    judged = [value for value in values if value is not None]
    k = sum(bool(counts(value)) for value in judged)
    low, high = wilson(k, len(judged))
    text = f"{k / max(1, len(judged)):.3f} ({low:.3f} to {high:.3f})"
    return text if len(judged) == len(values) else f"{text}, of {len(judged)} judged"


def _save_sheets(stages: dict[str, list[ScoredSample]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, scored in stages.items():
        tiles = [each.sample.image for each in scored[:: max(1, len(scored) // 52)]][:52]
        rows = [np.hstack(tiles[start : start + 13]) for start in range(0, len(tiles) - 12, 13)]
        sheet = Pictures.fromarray(np.vstack(rows))
        sheet.resize((sheet.width * 2, sheet.height * 2)).save(folder / f"{name}.png")


if __name__ == "__main__":
    main()
