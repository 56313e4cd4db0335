from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metrics.detectors.yolo import PersonDetector
from tuner.mannequin.building.train_yolo import YoloPlan, train_yolo, write_scenes
from tuner.mannequin.scene import random_scene


def test_labels_are_the_boxes_in_yolo_s_own_numbers(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", YoloPlan(scenes=3), seed=5)
    for index in range(3):
        image, boxes = random_scene(np.random.default_rng([5, 0, index]))
        text = (tmp_path / "scenes" / "labels" / "train" / f"{index:05d}.txt").read_text()
        rows = np.array([[float(word) for word in line.split()] for line in text.splitlines()])
        assert (rows[:, 0] == 0).all()
        corners = np.hstack([rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2])
        assert np.allclose(corners * len(image), boxes, atol=0.01)


@pytest.mark.slow
def test_a_miniature_trains_offline_and_loads_without_a_pickle(tmp_path: Path) -> None:
    train_yolo(tmp_path / "out", YoloPlan(16, 1, 128, 8), seed=0, work=tmp_path / "work")
    weights = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert set(weights) == {"yolo.yaml", "yolo.safetensors"}
    assert sum(weights.values()) < 3_000_000
    assert PersonDetector(str(tmp_path / "out"))(np.zeros((128, 128, 3), np.uint8)) == ()
