"""Study folders as a run leaves them, in any state, for the report to read.

The rows are written by the store, the pictures are rendered figures; only the numbers are drawn at
random, as no trial is trained.
"""

from __future__ import annotations

import functools
import io
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from metrics.contract import Prompt, Sample, Score, ScoredSample
from metrics.objectives import objectives, rates
from tuner.mannequin import draw
from tuner.mannequin.figure import random_figure
from tuner.report.findings import QUESTIONS
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow, StudyRow

NAMES = ("pose", "gender", "clothing", "quality")
PROMPTS = (
    Prompt("1girl", "female"),
    Prompt("1boy, solo", "male", "full"),
    Prompt("1girl, green dress", "female", "half", True),
)
STICK = [round(0.05 * one, 2) for one in range(20)] + [0.2, 0.9, 0.4, 0.9, 0.6, 0.9]


def new_study(parent: Path, budget: int = 3, name: str = "pose", **versions: str) -> StudyFolder:
    """A study that was begun, and nothing else."""
    folder = StudyFolder(parent / name)
    folder.create()
    folder.study_yaml.write_text("# data data: sha256 abc\nstudy: pose\n")
    row = StudyRow(
        name, "mannequin", "ab12", budget, NAMES, {"undressed_rate": 0.15},
        {"tuner": "0.1.0", **versions}, "2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    with Store(folder.results_db) as store:
        store.put_study(row)
    return folder


def put_samples(
    folder: StudyFolder,
    trial: int | None,
    step: int,
    good: float,
    prompts: Sequence[Prompt] = PROMPTS,
    size: int = 64,
) -> None:
    """A scored rung: each judge is content with a sample with the probability `good`."""
    rng = np.random.default_rng([step, 1 + (-1 if trial is None else trial)])
    files = folder.base if trial is None else folder.trial(trial).rung(step).root
    scored = []
    for cell, (prompt, seed) in enumerate((one, seed) for one in prompts for seed in range(2)):
        path = files / "samples" / f"{cell:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image, png = figure(cell % 4, size)
        if not path.exists():
            path.write_bytes(png)
        scores = {name: judged(name, rng, good) for name in QUESTIONS}
        scored.append(ScoredSample(Sample(prompt, seed, image, path), scores))
    row = RungRow(trial, step, objectives(scored, None), rates(scored), None, files / "grid.png")
    with Store(folder.results_db) as store:
        store.put_rung(row, scored)


@functools.cache
def figure(number: int, size: int) -> tuple[np.ndarray, bytes]:
    """A rendered figure of this number, and its file."""
    image = draw(random_figure(np.random.default_rng(number), clothed=True), size)
    file = io.BytesIO()
    Picture.fromarray(image).save(file, "png")
    return image, file.getvalue()


def judged(name: str, rng: np.random.Generator, good: float) -> Score:
    value = 0.9 if rng.random() < good else 0.1
    if name == "pose_readable":
        return Score(name, 1.0, None, {"people": 1, "joints": STICK})
    if name == "limbs":
        part = [0.1, 0.2, 0.3, 0.4]
        return Score(name, value, None, {"worst": "extra limb", "part": part})
    if name == "clean":
        return Score(name, 0.9, None, {"worst": "colour block", "block": [0.5, 0.5, 0.9, 0.9]})
    return Score(name, value)


def put_trial(
    folder: StudyFolder,
    number: int,
    state: str = "complete",
    good: float = 0.8,
    reason: str | None = None,
    parameters: Mapping[str, object] | None = None,
    **samples: Any,
) -> None:
    """A trial of two rungs; one that runs, or was stopped, has none at its second."""
    shown = {"rank": 4 * (1 + number % 3), "alias": "mi_cv" if number % 2 else None}
    with Store(folder.results_db) as store:
        store.begin_trial(number, shown if parameters is None else parameters)
        store.add_phase(number, "train", "2026-01-01T00:00:01+00:00", 20.0)
    put_samples(folder, number, 10, good / 2, **samples)
    if state == "running":
        return
    if state != "stopped":
        put_samples(folder, number, 20, good, **samples)
    with Store(folder.results_db) as store:
        store.end_trial(number, state, reason, 60.0)


def multiplied(folder: StudyFolder, template: int, count: int) -> None:
    """Rows and pictures of a trial copied until there are `count`, each with its own numbers."""
    rng = np.random.default_rng(0)
    source = folder.trial(template)
    with sqlite3.connect(folder.results_db) as db:
        for number in range(template + 1, count):
            for path in source.root.rglob("*.png"):
                copy = folder.trial(number).root / path.relative_to(source.root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, copy)
            _copy_rows(db, template, number, rng)
            parameters = f'{{"rank": {2 ** (number % 5)}, "empty_prompt": {rng.uniform():.4f}}}'
            db.execute(
                "insert into trials select ?, state, reason, ?, retry_of, begun, seconds, device"
                " from trials where number = ?",
                (number, parameters, template),
            )
    db.close()


def _copy_rows(
    db: sqlite3.Connection, template: int, number: int, rng: np.random.Generator
) -> None:
    for table, columns in (
        ("samples", "step, cell, prompt, sex, framing, names_clothes, seed"),
        ("scores", "step, cell, judge, value, reason, evidence"),
        ("events", "phase, begun, seconds"),
    ):
        path = ", replace(path, ?, ?)" if table == "samples" else ""
        into = ", path" if path else ""
        folders = (f"trials/{template:04d}", f"trials/{number:04d}") if path else ()
        db.execute(
            f"insert into {table} (trial, {columns}{into})"
            f" select ?, {columns}{path} from {table} where trial = ?",
            (number, *folders, template),
        )
    for step in (10, 20):
        numbers = ", ".join(
            f'"{name}": {{"name": "{name}", "value": {value}, "low": {0.8 * value},'
            f' "high": 1, "n": 50, "total": 52}}'
            for name, value in zip(NAMES, rng.uniform(0, 1, 4), strict=True)
        )
        db.execute(
            "insert into rungs select ?, step, ?, rates, lora, grid, seeds from rungs"
            " where trial = ? and step = ?",
            (number, f"{{{numbers}}}", template, step),
        )
