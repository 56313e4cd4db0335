"""Measure how well faces tell persons apart, on pictures of public figures.

    python benchmarks/identity.py FOLDER... [--model dlib]

A FOLDER has a subfolder of pictures for each person, or a table of pairs: a .csv file with the
columns `file_x`, `file_y` and `Decision` (Yes: the same person). Pictures are never copied, and
nothing in the result names one. Without a folder, or without the model, nothing is measured and the
reason is printed. Faces are found and told apart as in a study. The area under the curve is the
probability that a pair of the same person is nearer than one of two persons; its interval is a
Bayesian bootstrap over the pictures. Wrong are the pairs of one person and of two on the wrong side
of the best limit. Then the pictures are made so small that the face has a given size, smaller than
a study would take it too, and looked at again. The tables go to benchmarks/results/identity.md.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import metrics
from metrics.contract import Image, JudgeSettings, Prompt, Sample
from metrics.detectors import Detectors, identity
from metrics.detectors.identity import face_embedder
from metrics.detectors.models import ModelUnavailableError
from metrics.evidence import Evidence
from metrics.intervals import wilson
from metrics.known_faces import read_faces
from tuner.data.picture_file import SUFFIXES
from tuner.judging.score_folder import judged_pixels
from tuner.storage.files import write_text
from tuner.terminal import tracked

Floats = npt.NDArray[np.float64]
Found = Mapping[Path, npt.NDArray[np.float32] | None]

RESULT = Path(__file__).parent / "results" / "identity.md"
SIDES = (160, 96, 64, 48, 40, 32, 24, 16)
DRAWS = 1000
HEAD = "| pictures | a face told | pairs: same person | two | mean distance | area [95 %] | wrong |"
RULE = "|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Pair:
    """Two pictures, and whether they show the same person."""

    first: Path
    second: Path
    same: bool


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--model", default="dlib", help="as judges.identity_model")
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    pairs = {folder: read_pairs(folder) for folder in options.folders if folder.is_dir()}
    try:
        face_embedder(options.model)
    except ModelUnavailableError as error:
        print(f"nothing measured: {error}", file=sys.stderr)
        return
    if not any(pairs.values()):
        print("nothing measured: no FOLDER with pairs of pictures", file=sys.stderr)
        return
    text = page(pairs, options.model)
    write_text(options.result, text)
    print(text)


def read_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a folder: those of its tables, else all pairs of its subfolders."""
    tables = [rows for file in sorted(folder.glob("*.csv")) if (rows := _table(file))]
    if tables:
        found = []
        for row in tables[0]:
            pair = Pair(folder / row["file_x"], folder / row["file_y"], row["Decision"] == "Yes")
            if pair.first.is_file() and pair.second.is_file():
                found.append(pair)
        return found
    pictures = [path for path in sorted(folder.glob("*/*")) if path.suffix.lower() in SUFFIXES]
    return [Pair(one, two, one.parent == two.parent) for one, two in combinations(pictures, 2)]


def _table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        fits = {"file_x", "file_y", "Decision"} <= set(rows.fieldnames or ())
        return list(rows) if fits else []


def page(pairs: Mapping[Path, Sequence[Pair]], model: str, sides: Sequence[int] = SIDES) -> str:
    """Return the tables: a line for each folder, and one for each size of the faces."""
    every = [pair for each in pairs.values() for pair in each]
    pictures = sorted({path for pair in every for path in (pair.first, pair.second)})
    settings = JudgeSettings(gender_model=None, identity_model=model, domain="photographic")
    with metrics.open_detectors(settings) as judges:
        start = time.process_time()
        images = {path: judged_pixels(path) for path in tracked(pictures, None, "pictures read")}
        found = {path: look(image, judges) for path, image in images.items()}
        spent = (time.process_time() - start) / len(pictures)
        lines = [row(name(folder), each, found) for folder, each in pairs.items()]
        lines += [row("all", every, found)] if len(pairs) > 1 else []
        usual, identity.LEAST_SIDE = identity.LEAST_SIDE, 0.0  # these sizes are what sets it
        sizes = [row(f"{side} px", every, shrunk(images, side, judges)) for side in sides]
        identity.LEAST_SIDE = usual
    head = "# How well faces tell persons apart\n\n"
    head += f"Made by `python benchmarks/identity.py FOLDER... --model {name(Path(model))}`.\n\n"
    cost = f"\nProcessor time of a picture, finding its figures included: {1000 * spent:.0f} ms.\n"
    second = "\nWith the largest face of each picture made as small as this:\n\n"
    tables = [HEAD, RULE, *lines], [HEAD.replace("pictures", "side of the face"), RULE, *sizes]
    return head + "\n".join(tables[0]) + "\n" + cost + second + "\n".join(tables[1]) + "\n"


def name(path: Path) -> str:
    """Return the last part of a path: results name no folder of a machine."""
    return path.name


def look(image: Image, judges: Detectors) -> npt.NDArray[np.float32] | None:
    """Return the vector of the largest face, as a study reads it; None where there is none."""
    sample = Sample(Prompt("a person"), 0, image)
    known = read_faces(sample, Evidence(sample, judges))
    return None if known is None else known.vector


def shrunk(images: Mapping[Path, Image], side: int, judges: Detectors) -> Found:
    """Look at the pictures again, reduced until the largest face has this side in pixels."""
    found = {}
    for path, image in images.items():
        sample = Sample(Prompt("a person"), 0, image)
        faces = Evidence(sample, judges).faces
        largest = max((face.side for face in faces), default=0.0)
        if largest >= side:
            size = [max(16, round(length * side / largest)) for length in image.shape[1::-1]]
            small = cv2.resize(image, (size[0], size[1]), interpolation=cv2.INTER_AREA)
            found[path] = look(np.asarray(small, np.uint8), judges)
    return found


def row(label: str, pairs: Sequence[Pair], found: Found) -> str:
    """Return the line of a table: how many faces are told, distances, area under the curve."""
    pictures = {path for pair in pairs for path in (pair.first, pair.second) if path in found}
    known = {path: vector for path in pictures if (vector := found[path]) is not None}
    told = f"{len(known)} of {len(pictures)}, {_share(len(known), len(pictures))}"
    usable = [pair for pair in pairs if pair.first in known and pair.second in known]
    same = [pair for pair in usable if pair.same]
    other = [pair for pair in usable if not pair.same]
    cells = [label, told, str(len(same)), str(len(other))]
    if not same or not other:
        return f"| {' | '.join([*cells, '-', '-', '-'])} |"
    near, far = (np.array([_apart(pair, known) for pair in part]) for part in (same, other))
    draws = list(areas(same, other, near, far, sorted(known)))
    low, high = np.quantile(draws[1:], [0.025, 0.975])
    cells.append(f"{near.mean():.2f} and {far.mean():.2f}")
    cells.append(f"{draws[0]:.4f} [{low:.4f}, {high:.4f}]")
    cells.append(_wrong(near, far))
    return f"| {' | '.join(cells)} |"


def _wrong(near: Floats, far: Floats) -> str:
    """Return how many pairs of each kind lie on the wrong side of the limit that errs least."""
    limits = np.unique([*near, *far])
    errors = [((near > limit).mean() + (far <= limit).mean(), limit) for limit in limits]
    limit = min(errors)[1]
    sides = (int((near > limit).sum()), len(near)), (int((far <= limit).sum()), len(far))
    return " and ".join(f"{count} of {n}, {_share(count, n)}" for count, n in sides)


def areas(
    same: Sequence[Pair], other: Sequence[Pair], near: Floats, far: Floats, paths: Sequence[Path]
) -> Iterator[float]:
    """Yield the area under the curve, then DRAWS draws of it; a tie counts one half."""
    place = {path: at for at, path in enumerate(paths)}
    ends = [
        np.array([(place[pair.first], place[pair.second]) for pair in part])
        for part in (same, other)
    ]
    wins = (near[:, None] < far) + 0.5 * (near[:, None] == far)
    rng = np.random.default_rng(0)
    for draw in range(DRAWS + 1):
        weights = np.ones(len(paths)) if draw == 0 else rng.dirichlet(np.ones(len(paths)))
        left, right = (weights[part].prod(axis=1) for part in ends)
        yield float(left @ wins @ right / (left.sum() * right.sum()))


def _apart(pair: Pair, known: Found) -> float:
    first, second = (np.asarray(known[path], np.float64) for path in (pair.first, pair.second))
    return float(np.linalg.norm(first - second))


def _share(count: int, n: int) -> str:
    low, high = wilson(count, n)
    return f"{count / max(1, n):.0%} [{100 * low:.0f}, {100 * high:.0f}]"


if __name__ == "__main__":
    main()
