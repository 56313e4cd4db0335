"""Measure the cost of all judges together, in calls of NudeNet on the same pictures.

    python benchmarks/judges.py [--pictures 12] [--repeats 7] [--photographs FOLDER]

The pictures are rendered figures at 256 px and samples of the mannequin at 64 px, judged with the
mannequin's models, and photographs of a folder of yours, judged without a model of persons and with
the sex by the face; the judges run in one thread. The unit is one call of NudeNet (320n) by its
library on the whole picture. Times are processor time of the process: other work on the machine
does not count. The table goes to benchmarks/results/judges.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from nudenet import NudeDetector

from metrics import open_detectors, score
from metrics.contract import Image, Prompt, Sample
from metrics.detectors import Detectors
from metrics.preprocess import detector_picture
from tuner.judging.models import judge_settings
from tuner.judging.score_folder import find_pictures, judged_pixels
from tuner.mannequin import draw
from tuner.mannequin.render import random_figure
from tuner.models import draw as draw_samples, load_base
from tuner.space import SuiteConfig
from tuner.storage.files import write_text

RESULT = Path(__file__).parent / "results" / "judges.md"
GOALS = {"drawn": 4.0, "photographic": 5.0}
DETECTORS = {
    "parts": "NudeNet, the picture and a small figure's crop",
    "pose": "MediaPipe pose landmarker",
    "hands": "MediaPipe hand landmarker: on drawings where a third hand can show",
    "faces": "the networks of faces: place, sex and age",
    "persons": "the mannequin's YOLO",
    "zero_shot": "the mannequin's open_clip model",
}
PHOTOGRAPHS = "photographs"
OTHER = "colours, masks, GrabCut, blur effect"


class Clocked:
    """A detector that counts its calls and the processor seconds that they take."""

    def __init__(self, detector: Any) -> None:
        self._detector = detector
        self.calls, self.seconds = 0, 0.0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self._timed(self._detector, *arguments)

    def __getattr__(self, name: str) -> Any:
        """Return a method with the clock on it.

        To compare an embedding with sentences is no call: the picture is not read again.
        """
        method = getattr(self._detector, name)

        def timed(*arguments: Any) -> Any:
            self.calls += name != "compare"
            return self._timed(method, *arguments)

        return timed

    def _timed(self, function: Callable[..., Any], *arguments: Any) -> Any:
        begun = time.process_time()
        try:
            return function(*arguments)
        finally:
            self.seconds += time.process_time() - begun


def clocked(detectors: Detectors) -> dict[str, Clocked]:
    """Open every detector of the settings and put a clock on it; return the clocks by name."""
    clocks = {}
    for name in DETECTORS:
        if (detector := getattr(detectors, name)) is not None:
            clocks[name] = Clocked(detector)
            detectors.__dict__[name] = clocks[name]  # where cached_property keeps it
    return clocks


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--photographs", type=Path, help="a folder of photographs of people")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    measured = {}
    drawn = judge_settings("mannequin", "mannequin", domain="drawn")
    for name, samples in pictures(options.pictures).items():
        with open_detectors(drawn) as detectors:
            measured[name] = costs(samples, detectors, options.repeats)
    if options.photographs is not None:
        samples = photographs(options.photographs, options.pictures)
        with open_detectors(judge_settings(None, None)) as detectors:
            measured[PHOTOGRAPHS] = costs(samples, detectors, options.repeats)
    text = page(measured, options.pictures, options.repeats)
    write_text(options.result, text)
    print(text)


def pictures(count: int) -> dict[str, list[Sample]]:
    """Return rendered figures at 256 px, and samples of the mannequin at 64 px, by title."""
    rng = np.random.default_rng(31)
    figures = [random_figure(rng) for _ in range(count)]
    prompts = [Prompt(figure.tags[0], figure.sex) for figure in figures]
    suite = SuiteConfig(seeds=-(-count // 13), size=64)
    drawn = draw_samples(load_base("mannequin").pipeline, suite, range(count))
    return {
        "rendered figures, 256 px": [
            Sample(prompt, i, draw(figure, 256))
            for i, (prompt, figure) in enumerate(zip(prompts, figures, strict=True))
        ],
        "samples of the mannequin, 64 px": [
            Sample(prompt, seed, image)
            for (prompt, seed), image in zip(suite.cells(), drawn, strict=False)
        ],
    }


def photographs(folder: Path, count: int) -> list[Sample]:
    """Return `count` pictures of the folder and its subfolders, evenly spread, as of a woman."""
    found = [path for path, _ in find_pictures(folder, recursive=True).prompted]
    chosen = [found[int(i)] for i in np.linspace(0, len(found) - 1, min(count, len(found)))]
    prompt = Prompt("a woman", "female")
    return [Sample(prompt, i, judged_pixels(path), path) for i, path in enumerate(chosen)]


def costs(samples: Sequence[Sample], detectors: Detectors, repeats: int) -> dict[str, float]:
    """Return medians over the repeats in NudeNet calls per sample, of the whole and of each part.

    `unit` is one call in milliseconds. Each repeat times both on the same pictures.
    """
    library = NudeDetector()
    library.onnx_session = detectors.parts._detector.onnx_session._session  # one thread too
    views = [detector_picture(sample.image) for sample in samples]
    clocks = clocked(detectors)
    score(samples, detectors)  # warm-up: the first picture takes longer
    rows: dict[str, list[float]] = {}
    for _ in range(repeats):
        for clock in clocks.values():
            clock.seconds = 0.0
        unit, whole = (
            _seconds(lambda: _detect(library, views)),
            _seconds(lambda: score(samples, detectors)),
        )
        parts = {name: clock.seconds for name, clock in clocks.items()}
        shares = {"whole": whole, **parts, "other": whole - sum(parts.values())}
        for name, seconds in shares.items():
            rows.setdefault(name, []).append(seconds / unit)
        rows.setdefault("unit", []).append(1000 * unit / len(samples))
    return {name: statistics.median(values) for name, values in rows.items()}


def _detect(library: NudeDetector, views: Sequence[Image]) -> None:
    for view in views:
        library.detect(view)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def page(measured: dict[str, dict[str, float]], count: int, repeats: int) -> str:
    """Return the table in Markdown."""
    named = {"whole": "**all judges**", **DETECTORS, "other": OTHER}
    folder = " --photographs FOLDER" if PHOTOGRAPHS in measured else ""
    command = f"python benchmarks/judges.py --pictures {count} --repeats {repeats}{folder}"
    lines = ["# What the judges cost", "", f"Made by `{command}`: processor time a sample in"]
    lines += [
        "calls of NudeNet (320n, one thread, as its library makes them on the whole picture),"
    ]
    lines += [
        "medians. On a drawing every detector looks once; NudeNet looks again at a small figure's"
    ]
    lines += [
        "crop, the pose landmarker at a softened picture where it read no pose. On a photograph"
    ]
    lines += ["the pose landmarker looks again at the mirror image and at limbs painted over.", ""]
    lines += ["| | " + " | ".join(measured) + " |", "|---|" + "---|" * len(measured)]
    for key, name in named.items():
        numbers = " | ".join(f"{cost.get(key, 0.0):.2f}" for cost in measured.values())
        lines.append(f"| {name} | {numbers} |")
    lines.append(
        "| one call of NudeNet, ms | "
        + " | ".join(f"{cost['unit']:.1f}" for cost in measured.values())
        + " |"
    )
    for title, cost in measured.items():
        goal = GOALS["photographic" if title == PHOTOGRAPHS else "drawn"]
        met = "is met" if cost["whole"] <= goal else "is missed"
        lines += ["", f"{title}: the goal of {goal:g} calls {met}, {cost['whole']:.2f}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
