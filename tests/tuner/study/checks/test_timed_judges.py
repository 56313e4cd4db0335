"""Timing of the judges, on pictures like a study's samples."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from metrics.contract import BATCH
from tuner.judging.models import mannequin_judges
from tuner.space import load_study
from tuner.space.templates import shipped_spaces
from tuner.study.checks import timed_judges
from tuner.study.checks.timed_judges import judged_samples, time_judges


def test_opening_and_judging_take_time_and_threads_stay() -> None:
    samples = judged_samples(load_study(shipped_spaces()["pose"]))
    threads = torch.get_num_threads(), cv2.getNumThreads()
    took = time_judges(mannequin_judges(), samples, threads=1)
    assert took.load > 0
    assert 0.005 < took.score < 5
    assert (torch.get_num_threads(), cv2.getNumThreads()) == threads


def test_one_picture_is_enough_for_slow_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = judged_samples(load_study(shipped_spaces()["pose"]))
    monkeypatch.setattr(timed_judges, "_ENOUGH", 0.0)
    read: list[int] = []
    score = timed_judges.metrics.score
    monkeypatch.setattr(
        timed_judges.metrics,
        "score",
        lambda some, judges: (read.append(len(some)), score(some, judges)),
    )
    assert time_judges(mannequin_judges(), samples, threads=1).score > 0
    assert read == [1, 1]


def test_judged_are_figures_or_the_training_pictures_in_the_samples_size(tmp_path: Path) -> None:
    space = shipped_spaces()["pose"]
    samples = judged_samples(load_study(space, set_values=["suite.size=96x64"]))
    assert len(samples) == BATCH
    assert {sample.image.shape for sample in samples} == {(64, 96, 3)}
    for number, sex in enumerate(("girl", "boy")):
        colour = np.full((80, 60, 3), 10 * number, np.uint8)
        Image.fromarray(colour).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"1{sex}, solo")
    own = judged_samples(load_study(space, set_values=[f"data={tmp_path}"]))
    assert [sample.prompt.sex for sample in own] == ["female", "male"]
    assert [sample.image.shape for sample in own] == [(64, 64, 3)] * 2
    assert int(own[1].image.mean()) == 10
