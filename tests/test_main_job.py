"""The main job as a user runs it: the real command line, base, judges and files, at small size."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tests.pose_study import ROOT, SAMPLES, SMALL, SPACE, tuner
from tuner.models import draw
from tuner.space import load_study
from tuner.storage import StudyFolder, shipped

pytestmark = pytest.mark.slow


def test_a_study_ends_with_scores_pictures_and_loras(pose_study: Path) -> None:
    folder = StudyFolder(pose_study / "pose")
    with sqlite3.connect(folder.results_db) as database:
        trials = database.execute("select number, state from trials order by number").fetchall()
        scored = database.execute("select count(*) from samples").fetchone()[0]
    assert [number for number, _ in trials] == [0, 1]
    assert {state for _, state in trials} == {"complete"}
    assert scored == SAMPLES * (1 + 2 * 2)
    for number in (0, 1):
        for step in (3, 6):
            rung = folder.trial(number).rung(step)
            assert rung.lora.is_file()
            assert rung.grid.is_file()
    assert picture_of(folder.base / "grid.png").size == picture_of(rung.grid).size


def picture_of(path: Path) -> Image.Image:
    return Image.open(path)


def test_status_tells_the_front_with_intervals_and_the_base(pose_study: Path) -> None:
    status = tuner("status", "pose", studies=pose_study)
    assert status.returncode == 0, status.stderr
    assert "pose: 2 of 2 trials" in status.stdout
    assert "base" in status.stdout
    assert "[" in status.stdout


def test_the_exported_lora_draws_the_studys_samples_in_a_fresh_base(
    pose_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "best.safetensors"
    done = tuner("export", "pose", "--trial", "1", "-o", str(out), studies=pose_study)
    assert done.returncode == 0, done.stderr
    folder = StudyFolder(pose_study / "pose")
    suite = load_study(folder.study_yaml).suite
    fresh = StableDiffusionPipeline.from_pretrained(shipped.BASE)
    fresh.set_progress_bar_config(disable=True)
    fresh.load_lora_weights(str(out))
    cells = [0, 1, 2]
    with torch.no_grad():
        drawn = draw(fresh, suite, cells)
    for cell, picture in zip(cells, drawn, strict=True):
        stored = np.asarray(Image.open(folder.trial(1).rung(6).sample(cell)).convert("RGB"))
        assert np.abs(picture.astype(int) - stored).max() / 255 <= 2e-2 + 1 / 255


def test_a_changed_space_is_refused_with_the_reason(pose_study: Path) -> None:
    done = tuner("run", str(SPACE), *SMALL, "--set", "train.rank=2", studies=pose_study)
    assert done.returncode == 3
    assert done.stderr.count("error:") == 1
    assert "another search space" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_time_of_a_study_is_estimated_from_timed_steps(tmp_path: Path) -> None:
    done = tuner("check", str(SPACE), *SMALL, "--workers", "2", "--json", studies=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert "2 workers, as chosen" in report["lines"]
    assert (report["workers"], report["timed"]) == (2, True)
    assert any("timed on this" in line for line in report["lines"])


def test_a_check_outlives_the_process_that_times_steps(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from tuner.cli import app as command_line\n"
        "resource.setrlimit(resource.RLIMIT_AS, (4 * 10**9, 4 * 10**9))  # too little for torch\n"
        "command_line.app(sys.argv[1:], standalone_mode=False)\n"
        "print('loaded', 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "check", str(SPACE), *SMALL, "--studies", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "a rough guess" in done.stdout
    assert "loaded False" in done.stdout


def test_a_mad_learning_rate_ends_as_a_trial_with_poor_scores_and_no_failure(
    tmp_path: Path,
) -> None:
    options = ["--trials", "1", *SMALL, "--set", "train.learning_rate=0.9", "--set", "study=mad"]
    done = tuner("run", str(SPACE), *options, "--set", "budget.rungs=[10]", studies=tmp_path)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(StudyFolder(tmp_path / "mad").results_db) as database:
        state = database.execute("select state from trials").fetchone()[0]
    assert state in {"complete", "infeasible", "pruned"}
