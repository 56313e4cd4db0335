"""A confirmation as a user runs it, killed in its middle: real command line, base and judges."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pose_study import ROOT, SAMPLES, tuner
from tuner.models import read_file
from tuner.storage import StudyFolder

ASKED = (
    *("--trials", "2", "--samples", str(SAMPLES), "--training-seeds", "1", "--plain"),
    *("--workers", "1"),  # one part after the other
)
PARTS = [(-1, 0), (0, 0), (0, 1), (1, 0), (1, 1)]
"""Trials, the base among them, and their trainings."""

pytestmark = pytest.mark.slow


def killed(studies: Path, at: str) -> None:
    """Confirm until the line `at`, and die there."""
    with subprocess.Popen(
        [sys.executable, "-m", "tuner", "confirm", "pose", *ASKED],
        cwd=ROOT,
        env=os.environ | {"TUNER_STUDIES": str(studies)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if at in line:
                process.send_signal(signal.SIGKILL)
                break
        else:
            pytest.fail(f"{at!r} was never told")


def parts(folder: StudyFolder) -> list[tuple[int, int]]:
    with sqlite3.connect(folder.results_db) as database:
        rows = database.execute("select trial, repeat from fresh_rungs order by trial, repeat")
        return rows.fetchall()


def test_a_killed_confirmation_goes_on_and_its_winner_is_exported(
    pose_study: Path, tmp_path: Path
) -> None:
    folder = StudyFolder(pose_study / "pose")
    killed(pose_study, "confirming, 3/5")
    assert len(parts(folder)) == 2
    rest = tuner("confirm", "pose", *ASKED, studies=pose_study)
    assert rest.returncode == 0, rest.stderr
    assert [f"confirming, {n}/5" in rest.stderr for n in range(1, 6)] == [False] * 2 + [True] * 3
    assert parts(folder) == PARTS
    with sqlite3.connect(folder.results_db) as database:
        (drawn,) = database.execute("select count(*) from fresh_samples").fetchone()
        (states,) = database.execute("select count(*) from trials where state='running'").fetchone()
    assert (drawn, states) == (5 * SAMPLES, 0)
    assert "has the highest lower bound" in rest.stdout
    out = tmp_path / "best.safetensors"
    done = tuner("export", "pose", "-o", str(out), studies=pose_study)
    assert done.returncode == 0, done.stderr
    assert "has the highest lower bound" in done.stderr
    metadata = read_file(out).metadata
    assert metadata["tuner.trial"] in {"0", "1"}
    assert f"{SAMPLES} fresh samples" in metadata["tuner.confirmed"]
    again = tuner("confirm", "pose", *ASKED, studies=pose_study)
    assert again.returncode == 0, again.stderr
    assert "confirming" not in again.stderr
    assert again.stdout == rest.stdout
    told = tuner("confirm", "pose", *ASKED, "--json", studies=pose_study)
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [each["event"] for each in lines] == [
        *("study_begun", "phase", "confirmation", "study_ended")
    ]
    assert str(lines[2]["winner"]["trial"]) == metadata["tuner.trial"]
