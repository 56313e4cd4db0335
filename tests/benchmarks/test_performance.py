"""The page of speeds: a section for each result that is there, and the picture of a trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import performance
import trial
from performance import DOCS, PAGE, RESULTS, SECTIONS
from PIL import Image

MACHINE = {"cpu": "a processor", "cores": 2, "gpu": None, "python": "3.11", "torch": "2.15"}
MACHINE |= {"diffusers": "0.42", "peft": "0.21"}


def measured(scale: float) -> dict[str, Any]:
    seconds = {"start": 1.0 * scale, "train": 6.0 * scale, "sample": 2.0 * scale}
    seconds["judge"] = 1.0 * scale
    total, processor = 10.0 * scale, 15.0 * scale
    return {
        "total": total,
        "processor": processor,
        "seconds": seconds,
        "pictures": 52,
        "scores": 624,
    }


RESULT: dict[str, Any] = {
    "command": "python benchmarks/trial.py",
    "steps": 150,
    "plain": [measured(9.0), measured(10.0)],
    "ours": [measured(3.0), measured(2.0)],
    "workers": 2,
    "start_of_workers": 30.0,
    "losses": {"float32": 1e-5},
    "machine": MACHINE,
    "date": "2026-11-27",
}


def test_the_page_in_docs_is_that_of_the_results() -> None:
    current = (DOCS / PAGE).read_text(encoding="utf-8")
    assert performance.page(RESULTS) == current, "run python benchmarks/performance.py"
    assert "## What does a trial cost" in current


def test_only_results_that_are_there_have_a_heading(tmp_path: Path) -> None:
    text = "# Steps\n\nMade by `python benchmarks/step.py`.\n\n## On a CPU\n\n| a | b |\n"
    (tmp_path / "step.md").write_text(text, encoding="utf-8")
    (tmp_path / "step.json").write_text(json.dumps(RESULT), encoding="utf-8")
    lines = performance.page(tmp_path).splitlines()
    (step,) = (section for section in SECTIONS if section.name == "step")
    assert [line for line in lines if line.startswith("#")] == [
        "# Performance",
        f"## {step.heading}",
        "### On a CPU",
    ]
    assert "Made by `python benchmarks/step.py`." in lines
    assert "Measured on 2026-11-27: a processor, 2 cores; Python 3.11, torch 2.15" in lines[-1]


def test_a_trial_has_the_ratio_of_each_phase_with_its_range() -> None:
    rows = [line for line in trial.page(RESULT).splitlines() if line.startswith("| ")]
    assert rows[1:] == [
        "| start (ours: waiting for each other) | 9.5 [9.0, 10.0] | 2.5 [2.0, 3.0] |  |",
        "| train | 57.0 [54.0, 60.0] | 15.0 [12.0, 18.0] | 4.0 [3.0, 5.0] |",
        "| sample | 19.0 [18.0, 20.0] | 5.0 [4.0, 6.0] | 4.0 [3.0, 5.0] |",
        "| judge | 9.5 [9.0, 10.0] | 2.5 [2.0, 3.0] | 4.0 [3.0, 5.0] |",
        "| **all** | 95.0 [90.0, 100.0] | 25.0 [20.0, 30.0] | 4.0 [3.0, 5.0] |",
        "| all cores' time | 142.5 [135.0, 150.0] | 37.5 [30.0, 45.0] | 4.0 [3.0, 5.0] |",
    ]


def test_the_picture_shows_both_ways_at_their_length(tmp_path: Path) -> None:
    performance.draw(RESULT, tmp_path / "trial.png")
    with Image.open(tmp_path / "trial.png") as picture:
        train = tuple(int(performance.PARTS["train"][at : at + 2], 16) for at in (1, 3, 5))
        pixels = np.asarray(picture.convert("RGB"))
    rows = (pixels == train).all(axis=2).sum(axis=1)
    lengths = rows[rows > 20]
    # 57 s and 15 s: the legend's square is shorter than both bars.
    assert 3.4 < lengths.max() / lengths.min() < 4.2
