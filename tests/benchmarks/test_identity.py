"""Whether faces tell persons apart: its arithmetic, and dlib's network on real pictures.

The pictures are of public figures and lie outside of this repository: TUNER_REAL_FACES names their
folders, separated as paths are. Without them, or without tuner[identity], that test is skipped.
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
from identity import Pair, main, page, read_pairs, row
from PIL import Image

from metrics.detectors.models import dlib_weights

FOLDERS = [Path(name) for name in os.environ.get("TUNER_REAL_FACES", "").split(os.pathsep) if name]


@pytest.mark.slow
@pytest.mark.skipif(dlib_weights() is None, reason="tuner[identity] is not installed")
@pytest.mark.skipif(not FOLDERS, reason="TUNER_REAL_FACES names no folder of real faces")
def test_dlib_tells_public_figures_apart() -> None:
    text = page({folder: read_pairs(folder) for folder in FOLDERS}, "dlib", sides=())
    lines = [line.split("|")[1:-1] for line in text.splitlines() if "% [" in line]
    for cells in lines:
        assert float(cells[5].split()[0]) >= 0.98, text
    assert sum(int(cells[2]) for cells in lines) >= 38


def test_pairs_come_from_subfolders_or_from_a_table(tmp_path: Path) -> None:
    for name in ("ann/1.png", "ann/2.png", "bea/1.png", "bea/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = read_pairs(tmp_path)
    assert [pair.same for pair in found] == [True, False, False]
    with (tmp_path / "master.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_x", "file_y", "Decision"])
        writer.writerow(["ann/1.png", "ann/2.png", "Yes"])
        writer.writerow(["ann/1.png", "missing.png", "No"])
    assert read_pairs(tmp_path) == [Pair(tmp_path / "ann/1.png", tmp_path / "ann/2.png", True)]


def test_the_area_counts_pairs_in_order_and_its_interval_pictures() -> None:
    paths = [Path(str(number)) for number in range(6)]
    where = np.array([0.0, 0.1, 0.25, 1.0, 1.1, 5.0], np.float32)
    found = {path: np.array([place], np.float32) for path, place in zip(paths, where, strict=True)}
    pairs = [
        Pair(one, two, (first < 3) == (second < 3))
        for first, one in enumerate(paths)
        for second, two in enumerate(paths)
        if first < second
    ]
    line = row("some", pairs, found)
    near = [abs(float(where[a] - where[b])) for a, b in [(0, 1), (0, 2), (1, 2)]]
    near += [abs(float(where[a] - where[b])) for a, b in [(3, 4), (3, 5), (4, 5)]]
    far = [abs(float(where[a] - where[b])) for a in range(3) for b in range(3, 6)]
    area = np.mean([one < other for one in near for other in far])
    value, low, high = map(float, re.findall(r"\d\.\d{4}", line))
    assert value == pytest.approx(area, abs=1e-4)
    assert low < value < high
    assert line.endswith("| 2 of 6, 33% [10, 70] and 0 of 9, 0% [0, 30] |")
    assert "| 6 of 6, 100% [61, 100] | 6 | 9 |" in line
    hidden = {**found, paths[5]: None}
    assert "| 5 of 6, 83% [44, 97] | 4 | 6 |" in row("some", pairs, hidden)
    assert row("none", pairs, dict.fromkeys(paths)).endswith("| 0 | 0 | - | - | - |")


def test_without_pictures_or_a_model_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "alone.png")
    result = tmp_path / "identity.md"
    missing = str(tmp_path / "missing.onnx")
    main([str(tmp_path), "--model", missing, "--result", str(result)])
    assert "nothing measured: identity model" in capsys.readouterr().err
    assert not result.exists()
