"""Measure what the judges' detectors gain by several pictures at a time.

    python benchmarks/judge_batches.py [--pictures 8] [--repeats 5]

open_clip's ViT-B-32 and ViT-L-14 in their exact size with random weights, as `tuner` embeds
figures; NudeNet's 320n; and ultralytics' YOLO of the mannequin, at the smallest and the largest
side that persons are looked for at. Each by turns one by one and together, on a processor with one
thread, as a judge has, in its processor time; on a GPU on the clock. First both ways have to find
the same. Medians go to benchmarks/results/judge_batches.md and .json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import open_clip
import torch
from machine import RESULTS, machine, write_result
from safetensors.torch import save_file

from metrics.contract import Image
from metrics.detectors import nudenet
from metrics.detectors.open_clip import CONFIG_FILE, WEIGHTS_FILE, ZeroShotClassifier
from metrics.detectors.yolo import MAX_SIDE, MIN_SIDE, open_yolo
from tuner.mannequin import draw
from tuner.mannequin.figure import random_figure
from tuner.storage import shipped
from tuner.storage.files import write_text

See = Callable[[Sequence[Image]], np.ndarray]
"""What a detector finds in pictures, all at once: a row of numbers for each."""

_NUDENET_SIDE = 320
_AGREE = 1e-3
"""Largest difference of the two ways, relative to the largest number."""


@dataclass(frozen=True)
class Row:
    """Milliseconds a picture of a detector, one by one and together."""

    name: str
    alone: float
    together: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    pictures = [draw(random_figure(rng), 256) for _ in range(options.pictures)]
    rows = []
    for name, see in detectors():
        rows.append(measured(name, see, pictures, options.repeats))
        print(line(rows[-1]), flush=True)
    numbers = {"pictures": options.pictures, "rows": [asdict(row) for row in rows]}
    write_text(RESULTS / "judge_batches.md", page(rows, options.pictures))
    write_result("judge_batches", numbers)


def detectors() -> Iterator[tuple[str, See]]:
    """Yield the detectors by name, opened one after the other."""
    for name in ("ViT-B-32", "ViT-L-14"):
        yield f"open_clip {name}", random_classifier(name).embed_pictures
    yield "NudeNet 320n, on the processor", part_scores()
    for side in (MIN_SIDE, MAX_SIDE):
        yield f"the mannequin's YOLO, {side} px", person_boxes(side)


def random_classifier(name: str) -> ZeroShotClassifier:
    """Return an open_clip model of the exact size of `name` with random weights."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, CONFIG_FILE).write_text(json.dumps(open_clip.get_model_config(name)))
        network = open_clip.create_model(name)
        save_file(network.state_dict(), Path(folder, WEIGHTS_FILE))
        return ZeroShotClassifier(folder)


def part_scores() -> See:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(nudenet._MODEL), options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()

    def see(images: Sequence[Image]) -> np.ndarray:
        small = [np.resize(image, (_NUDENET_SIDE, _NUDENET_SIDE, 3)) for image in images]
        pixels = np.stack(small).transpose(0, 3, 1, 2).astype(np.float32) / 255
        return np.asarray(session.run(None, {given.name: pixels})[0])

    return see


def person_boxes(side: int) -> See:
    detector = open_yolo(shipped.YOLO, "person detector")

    def see(images: Sequence[Image]) -> np.ndarray:
        found = detector.predict(list(images), imgsz=side, verbose=False, save=False)
        sums = [torch.cat([each.boxes.xyxyn, each.boxes.conf[:, None]], 1).sum(0) for each in found]
        return torch.stack(sums).cpu().numpy()

    return see


def measured(name: str, see: See, pictures: Sequence[Image], repeats: int) -> Row:
    """Return the row of a detector; raises SystemExit if both ways find different things."""

    def one_by_one() -> np.ndarray:
        return np.concatenate([see([image]) for image in pictures])

    def together() -> np.ndarray:
        return see(pictures)

    first, second = one_by_one(), together()
    apart = np.abs(first - second).max() / np.abs(first).max()
    if apart > _AGREE:
        raise SystemExit(f"{name}: together it finds other things ({apart:.1e})")
    seconds: Mapping[str, list[float]] = {"alone": [], "together": []}
    for _ in range(repeats):
        for kind, work in (("alone", one_by_one), ("together", together)):
            begin = now()
            work()
            seconds[kind].append(now() - begin)
    each = {
        kind: 1000 * statistics.median(values) / len(pictures) for kind, values in seconds.items()
    }
    return Row(name, **each)


def now() -> float:
    """Return the seconds of this process on a processor, or with a GPU those of the clock."""
    return time.monotonic() if torch.cuda.is_available() else time.process_time()


def page(rows: Sequence[Row], pictures: int) -> str:
    """Return the table in Markdown."""
    here = machine()
    return "\n".join(
        [
            "# Several pictures at a time",
            "",
            f"Made by `python benchmarks/judge_batches.py` on {here['gpu'] or here['cpu']}: "
            f"milliseconds a picture one by one, and {pictures} together.",
            "",
            "| detector | one by one | together | together / one by one |",
            "|---|---|---|---|",
            *map(line, rows),
            "",
        ]
    )


def line(row: Row) -> str:
    """Return a row of the table."""
    ratio = row.together / row.alone
    return f"| {row.name} | {row.alone:.1f} | {row.together:.1f} | {ratio:.2f} |"


if __name__ == "__main__":
    main()
