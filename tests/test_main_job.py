"""The main job as a user runs it: the real command line, base, judges and files, at small size."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tuner import shipped
from tuner.sample import draw
from tuner.space import load_study
from tuner.study_folder import StudyFolder

ROOT = Path(__file__).resolve().parents[1]
SPACE = ROOT / "search_spaces" / "pose.yaml"
SMALL = [
    *("--set", "budget.rungs=[3, 6]"),
    *("--set", "suite.seeds=1"),
    *("--set", "suite.steps=6"),
    *("--set", "train.batch_size=4"),
]

pytestmark = pytest.mark.slow


def tuner(*arguments: str, studies: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TUNER_STUDIES": str(studies), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "tuner", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of two trials, run in two goes."""
    folder = tmp_path_factory.mktemp("studies")
    for trials in ("1", "2"):
        done = tuner("run", str(SPACE), "--trials", trials, *SMALL, studies=folder)
        assert done.returncode == 0, done.stderr
    return folder


def test_a_study_ends_with_scores_pictures_and_loras(studies: Path) -> None:
    folder = StudyFolder(studies / "pose")
    with sqlite3.connect(folder.results_db) as database:
        trials = database.execute("select number, state from trials order by number").fetchall()
        scored = database.execute("select count(*) from samples").fetchone()[0]
    assert [number for number, _ in trials] == [0, 1]
    assert {state for _, state in trials} <= {"complete", "infeasible"}
    assert scored == 13 * (1 + 2 * 2)
    for number in (0, 1):
        for step in (3, 6):
            rung = folder.trial(number).rung(step)
            assert rung.lora.is_file()
            assert rung.grid.is_file()
    assert picture_of(folder.base / "grid.png").size == picture_of(rung.grid).size


def picture_of(path: Path) -> Image.Image:
    return Image.open(path)


def test_status_tells_the_front_with_intervals_and_the_base(studies: Path) -> None:
    told = tuner("status", "pose", studies=studies)
    assert told.returncode == 0, told.stderr
    assert "pose: 2 of 2 trials" in told.stdout
    assert "base" in told.stdout
    assert "[" in told.stdout


def test_the_exported_lora_draws_the_studys_samples_in_a_fresh_base(
    studies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "best.safetensors"
    done = tuner("export", "pose", "--trial", "1", "-o", str(out), studies=studies)
    assert done.returncode == 0, done.stderr
    folder = StudyFolder(studies / "pose")
    suite = load_study(folder.study_yaml).suite
    fresh = StableDiffusionPipeline.from_pretrained(shipped.BASE)
    fresh.set_progress_bar_config(disable=True)
    fresh.load_lora_weights(str(out))
    cells = [0, 5, 12]
    with torch.no_grad():
        drawn = draw(fresh, suite, cells)
    for cell, picture in zip(cells, drawn, strict=True):
        stored = np.asarray(Image.open(folder.trial(1).rung(6).sample(cell)).convert("RGB"))
        assert np.abs(picture.astype(int) - stored).max() / 255 <= 2e-2 + 1 / 255


def test_a_changed_space_is_refused_with_the_reason(studies: Path) -> None:
    done = tuner("run", str(SPACE), *SMALL, "--set", "train.rank=2", studies=studies)
    assert done.returncode == 3
    assert done.stderr.count("error:") == 1
    assert "another search space" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mad_learning_rate_ends_as_a_trial_with_poor_scores_and_no_failure(
    tmp_path: Path,
) -> None:
    asked = ["--trials", "1", *SMALL, "--set", "train.learning_rate=0.9", "--set", "study=mad"]
    done = tuner("run", str(SPACE), *asked, "--set", "budget.rungs=[30]", studies=tmp_path)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(StudyFolder(tmp_path / "mad").results_db) as database:
        state = database.execute("select state from trials").fetchone()[0]
    assert state in {"complete", "infeasible", "pruned"}
